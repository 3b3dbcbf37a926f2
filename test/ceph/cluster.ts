/**
 * A Ceph cluster of one monitor, one manager and one OSD on a sparse file, in a folder of its own, on an address that
 * a network namespace reaches too. Its programs are told where it is by CEPH_CONF; /etc/ceph is not looked at.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { run, until } from "../cli/harness.ts"

/** An unprivileged client, with what the recipe in docs/lease.md gives it. */
export const USER = "tresor"
const POOL = "rbd"

export async function succeed(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, { env })
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${stderr}${stdout}`)
  return stdout.trim()
}

export class Cluster {
  readonly env: NodeJS.ProcessEnv
  readonly #folder: string
  readonly #address: string
  readonly #daemons = new Map<string, ChildProcess>()

  /** `address`: of this machine, where the monitor and the OSD will listen. */
  constructor(address: string) {
    this.#folder = mkdtempSync("/var/tmp/tresor-ceph-")
    this.#address = address
    this.env = { CEPH_CONF: join(this.#folder, "ceph.conf") }
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }

  ceph(...args: string[]): Promise<string> {
    return succeed("ceph", args, this.env)
  }

  rbd(...args: string[]): Promise<string> {
    return succeed("rbd", args, this.env)
  }

  #keyring(file: string, name: string, ...caps: string[]): Promise<string> {
    const words = caps.flatMap((cap) => ["--cap", cap, "allow *"])
    return succeed("ceph-authtool", ["-C", this.#path(file), "--gen-key", "-n", name, ...words], this.env)
  }

  async start(): Promise<void> {
    const fsid = randomUUID()
    for (const name of ["mon", "mgr", "osd", "run"]) mkdirSync(this.#path(name))
    const monitors = `[v2:${this.#address}:13300,v1:${this.#address}:16789]`
    writeFileSync(
      this.env["CEPH_CONF"]!,
      `[global]
fsid = ${fsid}
mon_host = ${monitors}
public_network = ${this.#address}/32
keyring = ${this.#path("$name.keyring")}
run_dir = ${this.#path("run")}
log_file = ${this.#path("$name.log")}
osd_pool_default_size = 1
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_crush_chooseleaf_type = 0
osd_memory_target = 939524096
bluestore_block_size = 8589934592
mon_data_avail_warn = 1
[mon]
mon_data = ${this.#path("mon")}
keyring = ${this.#path("mon.keyring")}
[mgr]
mgr_data = ${this.#path("mgr")}
mgr_initial_modules =
keyring = ${this.#path("mgr/keyring")}
[osd]
osd_data = ${this.#path("osd")}
keyring = ${this.#path("osd/keyring")}
`,
    )
    const [mon, admin, map] = [this.#path("mon.keyring"), this.#path("client.admin.keyring"), this.#path("monmap")]
    await this.#keyring("mon.keyring", "mon.", "mon")
    await this.#keyring("client.admin.keyring", "client.admin", "mon", "osd", "mgr")
    await succeed("ceph-authtool", [mon, "--import-keyring", admin], this.env)
    await succeed("monmaptool", ["--create", "--fsid", fsid, "--addv", "a", monitors, map], this.env)
    await succeed("ceph-mon", ["--mkfs", "-i", "a", "--monmap", map, "--keyring", mon], this.env)
    this.startMonitor()
    const manager = await this.ceph("auth", "get-or-create", "mgr.x", "mon", "allow profile mgr", "osd", "allow *")
    writeFileSync(this.#path("mgr/keyring"), `${manager}\n`)
    this.#start("mgr", "ceph-mgr", "-i", "x")
    const uuid = randomUUID()
    const secret = await succeed("ceph-authtool", ["--gen-print-key"], this.env)
    const secrets = this.#path("secrets")
    writeFileSync(secrets, JSON.stringify({ cephx_secret: secret }))
    await this.ceph("osd", "new", uuid, "-i", secrets)
    const osdKeyring = this.#path("osd/keyring")
    await succeed("ceph-authtool", ["-C", osdKeyring, "--name", "osd.0", "--add-key", secret], this.env)
    writeFileSync(this.#path("osd/block"), "")
    truncateSync(this.#path("osd/block"), 8 << 30)
    await succeed("ceph-osd", ["-i", "0", "--mkfs", "--osd-uuid", uuid], this.env)
    await this.startOsd()
    await this.ceph("osd", "pool", "create", POOL, "8")
    await this.rbd("pool", "init", POOL)
    const user = await this.ceph(
      ...["auth", "get-or-create", `client.${USER}`],
      ...["mon", "profile rbd", "osd", `profile rbd pool=${POOL}`],
    )
    writeFileSync(this.#path(`client.${USER}.keyring`), `${user}\n`)
  }

  #start(name: string, command: string, ...args: string[]): void {
    const child = spawn(command, ["-f", ...args], { env: { ...process.env, ...this.env }, stdio: "ignore" })
    this.#daemons.set(name, child)
  }

  startMonitor(): void {
    this.#start("mon", "ceph-mon", "-i", "a")
  }

  async startOsd(): Promise<void> {
    this.#start("osd", "ceph-osd", "-i", "0")
    await until("the OSD is up", async () => (await this.ceph("osd", "stat")).includes(" 1 up"), 120_000)
  }

  /** With SIGKILL, as a machine that fails. */
  async kill(name: "mon" | "mgr" | "osd"): Promise<void> {
    const child = this.#daemons.get(name)
    this.#daemons.delete(name)
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once("exit", resolve))
    child.kill("SIGKILL")
    await gone
  }

  /** The last lines of a daemon's log, for a test that fails. */
  log(name: string): string {
    return readFileSync(this.#path(`${name}.log`), "utf8")
      .split("\n")
      .slice(-20)
      .join("\n")
  }

  async stop(): Promise<void> {
    for (const name of ["mgr", "osd", "mon"] as const) await this.kill(name)
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

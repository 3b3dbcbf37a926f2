/** A machine with a volume on the cluster: in a network namespace, with state and runtime directories of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Place, type Result, run, tresorPath, until } from "../cli/harness.ts"
import { USER } from "./cluster.ts"

export const NAME = "work"
export const LEASE_SECONDS = 15

export class Host {
  readonly place = new Place()
  readonly uri: string
  readonly socket: string
  readonly #inside: readonly string[]
  readonly #env: NodeJS.ProcessEnv
  readonly #image: string
  #activator: ChildProcess | null = null

  /** `namespace`: null for the machine's own. */
  constructor(namespace: string | null, image: string, env: NodeJS.ProcessEnv) {
    this.#inside = namespace === null ? [] : ["ip", "netns", "exec", namespace]
    this.#image = image
    this.#env = env
    mkdirSync(this.place.path("rbd"))
    this.socket = this.place.path("rbd/work.sock")
    this.uri = `nbd+unix:///?socket=${this.socket}`
  }

  /** NBD URI of the open volume. */
  get plain(): string {
    return `nbd+unix:///?socket=${join(this.place.runtime, NAME, "nbd.sock")}`
  }

  run(command: string, ...args: string[]): Promise<Result> {
    const [program, ...words] = [...this.#inside, command, ...args]
    return run(program!, words, { env: { ...this.place.env, ...this.#env } })
  }

  tresor(...args: string[]): Promise<Result> {
    return this.run(tresorPath, ...args)
  }

  /** What systemd would do for the recipe of docs/lease.md: a qemu-nbd for each time somebody connects. */
  async serve(): Promise<void> {
    const activate = fileURLToPath(new URL("activate.py", import.meta.url))
    const image = `driver=rbd,pool=rbd,image=${this.#image},user=${USER},conf=${this.#env["CEPH_CONF"]}`
    const nbd = ["qemu-nbd", "-e", "8", "-x", "", "--image-opts", image]
    const [program, ...words] = [...this.#inside, "python3", activate, this.socket, ...nbd]
    this.#activator = spawn(program!, words, { env: { ...process.env, ...this.#env }, stdio: "ignore" })
    await until("the socket is there", async () => (await run("test", ["-S", this.socket])).code === 0, 30_000)
  }

  open(keyFile: string, ...more: string[]): Promise<Result> {
    const lease = ["--lease", `ceph:${USER}@rbd/${this.#image}`, "--lease-duration", String(LEASE_SECONDS)]
    return this.tresor("open", this.uri, NAME, "--key-file", keyFile, ...lease, ...more)
  }

  async status() {
    const { code, stdout, stderr } = await this.tresor("status", NAME, "--json")
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout) as {
      readonly lease: { readonly owner: string; readonly state: string; readonly reason: string | null }
      readonly server: { readonly state: string; readonly reason: string | null }
    }
  }

  /** `commands` of qemu-io on the plaintext; several in order. */
  io(...commands: string[]): Promise<Result> {
    return run("qemu-io", ["-f", "raw", ...commands.flatMap((each) => ["-c", each]), this.plain])
  }

  get daemon(): number {
    return this.place.state(NAME).pid
  }

  get log(): string {
    return readFileSync(join(this.place.runtime, NAME, "log"), "utf8")
  }

  /** The qemu-nbd that runs now. */
  async server(): Promise<number> {
    const parent = this.#activator!.pid!
    const { stdout } = await run("pgrep", ["-P", String(parent), "qemu-nbd"])
    return Number(stdout.trim())
  }

  /** Everything at once, as a power cut. */
  async die(): Promise<void> {
    const [daemon, server] = [this.daemon, await this.server()]
    this.#activator!.kill("SIGKILL")
    for (const pid of [server, daemon]) process.kill(pid, "SIGKILL")
    this.#activator = null
    await run("rm", ["-f", this.socket])
  }

  async stop(): Promise<void> {
    const activator = this.#activator
    this.#activator = null
    if (activator === null) return
    const gone = new Promise((resolve) => activator.once("exit", resolve))
    activator.kill("SIGTERM")
    await gone
  }
}

/** A TPM 2.0 in software, swtpm(8), and tpm2-tools, which are another program on the same TPM. */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

export class Swtpm {
  readonly #folder: string
  #pid = 0
  readonly socket: string

  constructor(folder: string) {
    this.#folder = join(folder, "tpm")
    this.socket = join(folder, "tpm.sock")
    mkdirSync(this.#folder)
    this.start()
  }

  /** For Tresor; `path`: of another socket. */
  static tcti(path: string): string {
    return `swtpm:path=${path}`
  }

  get env(): NodeJS.ProcessEnv {
    return { TRESOR_TPM2_TCTI: Swtpm.tcti(this.socket) }
  }

  /** Returns when it listens. */
  start(): void {
    execFileSync("swtpm", [
      "socket",
      "--tpm2",
      ...["--tpmstate", `dir=${this.#folder}`],
      ...["--server", `type=unixio,path=${this.socket}`],
      // libtss2-tcti-swtpm knows no other place for it.
      ...["--ctrl", `type=unixio,path=${this.socket}.ctrl`],
      ...["--flags", "not-need-init,startup-clear"],
      ...["--pid", `file=${join(this.#folder, "pid")}`],
      "--daemon",
    ])
    this.#pid = Number(readFileSync(join(this.#folder, "pid"), "utf8"))
  }

  /** As when the power goes: PCRs are lost, and all else is kept. */
  stop(): void {
    process.kill(this.#pid)
    while (isRunning(this.#pid)) spawnSync("sleep", ["0.02"])
  }

  reboot(): void {
    this.stop()
    this.start()
  }

  /** One of tpm2-tools; swtpm has no resource manager, so what it leaves in the TPM is flushed. Returns its output. */
  tool(name: string, args: readonly string[] = [], { via = this.socket, cwd = this.#folder } = {}): Buffer {
    const env = { ...process.env, TPM2TOOLS_TCTI: Swtpm.tcti(via) }
    const output = execFileSync(`tpm2_${name}`, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"] })
    if (name !== "flushcontext") execFileSync("tpm2_flushcontext", ["-t"], { env, cwd, stdio: "ignore" })
    return output
  }

  /** Measures something into a PCR, as other firmware would. */
  extend(pcr: number): void {
    this.tool("pcrextend", [`${pcr}:sha256=${"01".repeat(32)}`])
  }
}

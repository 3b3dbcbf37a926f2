/** An nbdkit that can be killed and started again at the same socket. */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"

export class Nbdkit {
  readonly socket: string
  /** Written by nbdkit when it accepts connections. */
  readonly #ready: string
  readonly #args: readonly string[]
  #child: ChildProcess | null = null

  constructor(folder: string, ...args: string[]) {
    this.socket = join(folder, "nbdkit.sock")
    this.#ready = join(folder, "nbdkit.pid")
    const options = ["--foreground", "--exit-with-parent", "--unix", this.socket, "--pidfile", this.#ready]
    this.#args = [...options, ...args]
  }

  get target() {
    return { at: { path: this.socket }, exportName: "" }
  }

  async start(): Promise<void> {
    rmSync(this.socket, { force: true })
    rmSync(this.#ready, { force: true })
    const child = spawn("nbdkit", this.#args, { stdio: ["ignore", "ignore", "pipe"] })
    let said = ""
    child.stderr.on("data", (data) => (said += data))
    let failed: Error | null = null
    child.on("error", (error) => (failed = error))
    child.on("exit", (code) => {
      if (code !== null && code !== 0) failed = new Error(`nbdkit ended with ${code}: ${said}`)
    })
    this.#child = child
    while (!existsSync(this.#ready)) {
      if (failed !== null) throw failed
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  /** Resolves when it has stopped, connections open and silent. */
  async stop(): Promise<void> {
    this.#child!.kill("SIGSTOP")
    const status = () => readFileSync(`/proc/${this.#child!.pid}/status`, "latin1")
    while (!/^State:\s*T/m.test(status())) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  continue(): void {
    this.#child?.kill("SIGCONT")
  }

  /** Without a chance to write anything down. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once("exit", resolve))
    child.kill("SIGKILL")
    await gone
  }
}

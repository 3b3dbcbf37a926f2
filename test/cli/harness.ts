/** The real `./tresor` as child processes, each test file in folders of its own. */
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after } from "node:test"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../..", import.meta.url))
export const tresorPath = join(root, "tresor")

export interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, stdio: "pipe" })
    const read = (stream: NodeJS.ReadableStream) => {
      const chunks: Buffer[] = []
      stream.on("data", (chunk: Buffer) => chunks.push(chunk))
      return () => Buffer.concat(chunks).toString("utf8")
    }
    const [stdout, stderr] = [read(child.stdout), read(child.stderr)]
    child.on("error", reject)
    child.stdin.on("error", () => {})
    child.stdin.end(options.input ?? "")
    child.on("close", (code, signal) =>
      resolve({ code: signal === null ? code! : 128, stdout: stdout(), stderr: stderr() }),
    )
  })
}

/** Folders of one test file, and the commands in them. Everything is closed and removed at the end. */
export class Place {
  readonly folder = mkdtempSync(join(tmpdir(), "tresor-cli-"))
  readonly runtime = join(this.folder, "run")
  readonly env: NodeJS.ProcessEnv = {
    TRESOR_RUNTIME_DIR: this.runtime,
    TRESOR_STATE_DIR: join(this.folder, "state"),
    XDG_CONFIG_HOME: join(this.folder, "config"),
    TERM: "xterm",
    NO_COLOR: "1",
  }

  constructor() {
    mkdirSync(this.env["XDG_CONFIG_HOME"]!)
    after(async () => {
      for (const name of this.names()) await this.tresor(["close", name])
      for (const name of this.names()) {
        try {
          process.kill(this.state(name).pid, "SIGKILL")
        } catch {
          // Gone already.
        }
      }
      rmSync(this.folder, { recursive: true, force: true })
    })
  }

  tresor(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run(tresorPath, args, { ...options, env: { ...this.env, ...options.env } })
  }

  /** The same on a terminal: `script` is a list of [text to wait for, text to type]. */
  typed(
    args: readonly string[],
    script: readonly (readonly [string, string])[],
    env: NodeJS.ProcessEnv = {},
    cwd?: string,
  ): Promise<Result> {
    const terminal = fileURLToPath(new URL("terminal.py", import.meta.url))
    const command = [terminal, JSON.stringify(script), tresorPath, ...args]
    return run("python3", command, { env: { ...this.env, ...env }, ...(cwd === undefined ? {} : { cwd }) })
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  file(name: string, content: string | Uint8Array): string {
    const path = this.path(name)
    writeFileSync(path, content)
    return path
  }

  /** Names that have a runtime directory. */
  names(): string[] {
    try {
      return readdirSync(this.runtime).filter((name) => !name.startsWith("."))
    } catch {
      return []
    }
  }

  state(name: string): { readonly pid: number; readonly name: string } {
    return JSON.parse(readFileSync(join(this.runtime, name, "state.json"), "utf8"))
  }

  /** A volume with the passphrase in the key file returned; cheap KDF, no recovery slot unless asked. */
  async volume(
    name: string,
    passphrase = "correct horse",
    more: readonly string[] = [],
  ): Promise<{ readonly path: string; readonly keyFile: string }> {
    const keyFile = this.file(`${name}.key`, passphrase)
    const path = this.path(name)
    const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    const made = await this.tresor([
      "create",
      path,
      "--size",
      "32M",
      "--key-file",
      keyFile,
      "--no-recovery",
      ...kdf,
      ...more,
    ])
    if (made.code !== 0) throw new Error(`create: ${made.stderr}`)
    return { path, keyFile }
  }
}

export function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

export async function until(what: string, condition: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

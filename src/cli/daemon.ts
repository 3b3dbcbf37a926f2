/** The CLI's side of tresord: start one, find one, end one. */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync, readFileSync, rmSync } from "node:fs"
import type { Socket } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as v from "valibot"
import { ControlClient } from "../control/client.ts"
import { refusedSchema } from "../control/volume.ts"
import { VolumeClient } from "../control/volume-client.ts"
import { isLive, prepareRoot, processStart, readState, runtimePaths, runtimeRoot } from "../daemon/runtime.ts"
import { Exit, TresorError } from "../errors.ts"
import { notOpen } from "./messages.ts"

/** tresord as a program of this build, or of the sources when those run. */
function daemonCommand(): string[] {
  const here = import.meta.url
  const harden = "--disallow-code-generation-from-strings"
  if (here.endsWith(".ts"))
    return ["--import", import.meta.resolve("tsx"), fileURLToPath(new URL("../daemon/main.ts", here))]
  return [harden, fileURLToPath(new URL("./tresord.cjs", here))]
}

const readySchema = v.variant("ok", [
  v.object({ ok: v.literal(true) }),
  v.object({ ok: v.literal(false), ...refusedSchema.entries }),
])

/** Those that end with us, from their first moment. */
const ending = new Set<ChildProcess>()

/** Ends the daemons that were not told to stay, and waits until nothing of them writes any more. */
export async function abandonDaemons(): Promise<void> {
  for (const child of ending) {
    child.ref()
    const gone = new Promise((resolve) => child.once("exit", resolve))
    child.stdio[3]?.destroy()
    await gone
  }
}

/**
 * A tresord that waits locked and ends with us, until `stay` is called: an
 * interrupted `open` leaves nothing behind.
 */
export class StartedDaemon implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lifeline: Socket
  #stays = false

  constructor(child: ChildProcess, lifeline: Socket) {
    this.#child = child
    this.#lifeline = lifeline
  }

  async stay(): Promise<void> {
    await new Promise<void>((resolve) => this.#lifeline.end("stay\n", () => resolve()))
    this.#stays = true
    ending.delete(this.#child)
  }

  /** Unless it stays, its name is free again afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#lifeline.destroy()
    if (this.#stays || this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.ref()
    await new Promise((resolve) => this.#child.once("exit", resolve))
  }
}

/** Starts a tresord and waits until it listens. Rejects with its reason when it does not come up. */
export async function startDaemon(name: string, args: readonly string[]): Promise<StartedDaemon> {
  const root = runtimeRoot()
  runtimePaths(root, name)
  prepareRoot(root)
  const log = join(root, `.log-${process.pid}-${Date.now()}`)
  const fd = openSync(log, "wx", 0o600)
  try {
    const child = spawn(process.execPath, [...daemonCommand(), "--lifeline", "--log-file", log, ...args], {
      stdio: ["ignore", fd, fd, "pipe"],
      detached: true,
      // The daemon keeps no directory busy.
      cwd: "/",
    })
    ending.add(child)
    child.once("exit", () => ending.delete(child))
    const lifeline = child.stdio[3] as Socket
    const text = await firstLine(child, lifeline)
    child.unref()
    const result = v.safeParse(readySchema, text === null ? null : JSON.parse(text))
    if (!result.success) {
      throw new TresorError(
        "DAEMON_DIED",
        Exit.wrongDevice,
        `Cannot open ${name}: its tresord died at the start (${child.signalCode ?? `exit code ${child.exitCode}`})` +
          lastWords(log),
      )
    }
    if (!result.output.ok) throw new TresorError(result.output.code, result.output.exitCode, result.output.message)
    return new StartedDaemon(child, lifeline)
  } finally {
    closeSync(fd)
    // Once up, tresord has moved it into its own directory.
    rmSync(log, { force: true })
  }
}

/** What a process that could not even say "no" left in its log: ": ReferenceError: …", or nothing. */
function lastWords(log: string): string {
  const lines = readFileSync(log, "utf8").split("\n")
  const said = lines.find((line) => /^\w*(Error|error)\b/.test(line)) ?? lines.filter((line) => line !== "").at(-1)
  return said === undefined ? "" : `: ${said}`
}

async function firstLine(child: ReturnType<typeof spawn>, stream: Socket): Promise<string | null> {
  return new Promise((resolve, reject) => {
    let text = ""
    child.once("error", reject)
    stream.setEncoding("utf8")
    stream.on("data", (chunk: string) => {
      text += chunk
      const end = text.indexOf("\n")
      if (end >= 0) resolve(text.slice(0, end))
    })
    stream.on("error", () => resolve(null))
    // Its exit code is known a moment after its end of the line is gone.
    stream.on("close", () => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(null)
      else child.once("exit", () => resolve(null))
    })
  })
}

/** Throws NOT_OPEN (exit 4) when no tresord of that name lives. */
export async function connectVolume(name: string): Promise<VolumeClient> {
  const root = runtimeRoot()
  const paths = runtimePaths(root, name)
  if (!isLive(readState(root, name))) throw notOpen(name)
  try {
    return new VolumeClient(await ControlClient.connect(paths.control), name)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === "ENOENT" || code === "ECONNREFUSED") throw notOpen(name)
    throw error
  }
}

/** Closes a volume and waits for the end of its process. */
export async function closeVolume(name: string): Promise<void> {
  const root = runtimeRoot()
  const state = readState(root, name)
  if (!isLive(state)) throw notOpen(name)
  const client = await connectVolume(name)
  try {
    await client.call("Close")
  } catch (error) {
    // Somebody else closed it between our look and our call.
    if (!(error instanceof TresorError && error.code === "CONTROL_LOST")) throw error
  } finally {
    client[Symbol.dispose]()
  }
  while (processStart(state.pid) === state.startTime) await new Promise((resolve) => setTimeout(resolve, 5))
}

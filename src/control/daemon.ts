/** The CLI's side of tresord: start one, find one, end one. */
import type { ChildProcess } from "node:child_process"
import { readFileSync, rmSync } from "node:fs"
import type { Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import * as v from "valibot"
import { Exit, TresorError } from "../base/errors.ts"
import { parseJson } from "../base/json.ts"
import { ControlClient, connectSocket } from "./client.ts"
import type { DaemonOptions } from "./daemon-options.ts"
import { takeDaemon } from "./daemon-process.ts"
import { checkPeer, dead, type Found, find, notOpen } from "./find.ts"
import { isLive, processStart, runtimePaths } from "./runtime.ts"
import { runtimeRoot } from "./runtime-root.ts"
import { refusedSchema } from "./volume.ts"
import { VolumeClient } from "./volume-client.ts"

const readySchema = v.variant("ok", [
  v.object({ ok: v.literal(true) }),
  v.object({ ok: v.literal(false), ...refusedSchema.entries }),
])

/** How often the process behind a socket may be another than state.json says, and the time between two looks. */
const IMPOSTOR_LOOKS = 5
const LOOK_PAUSE_MS = 50

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
export async function startDaemon(options: DaemonOptions): Promise<StartedDaemon> {
  const { name } = options
  runtimePaths(runtimeRoot(), name)
  const { child, lifeline, firstLine, log } = takeDaemon()
  if (child.exitCode === null && child.signalCode === null) {
    ending.add(child)
    child.once("exit", () => ending.delete(child))
  }
  try {
    child.ref()
    lifeline.ref()
    lifeline.write(`${JSON.stringify(options)}\n`)
    const text = await firstLine
    child.unref()
    const result = v.safeParse(readySchema, text === null ? null : parseJson(text))
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

/** Of another user's volume root may ask and end things; passphrases go to one's own and to root's. */
export interface Reach {
  readonly others?: boolean
  /** The socket stays open for writing when the other end has ended. */
  readonly halfOpen?: boolean
  /** Between two looks; default: a moment. */
  readonly pause?: () => Promise<unknown>
}

const pidOf = ({ state }: Found): number | null => (state === null || state === "damaged" ? null : state.pid)

/**
 * A socket whose peer is the tresord of that name. Throws NOT_OPEN, VOLUME_DEAD (exit 4) when none lives, IMPOSTOR
 * (exit 2) when somebody else answers. Looks again when a takeover may be the reason: state.json and the socket have
 * the new tresord one after the other, and the old one may end between our look at its PID and at its process.
 */
export async function connectTresord(name: string, reach: Reach = {}): Promise<Socket> {
  const { others = false, pause = () => sleep(LOOK_PAUSE_MS) } = reach
  for (let look = 1, found = find(name, { others }); ; look++) {
    try {
      return await connectFound(name, found, reach)
    } catch (error) {
      const code = error instanceof TresorError ? error.code : null
      if (code !== "VOLUME_DEAD" && (code !== "IMPOSTOR" || look === IMPOSTOR_LOOKS)) throw error
      await pause()
      const before = pidOf(found)
      found = find(name, { others })
      if (code === "VOLUME_DEAD" && pidOf(found) === before) throw error
    }
  }
}

async function connectFound(name: string, { path, owner, state }: Found, { halfOpen = false }: Reach): Promise<Socket> {
  if (!isLive(state)) throw state === null ? notOpen(name) : dead(name, state)
  try {
    const check = (socket: Socket) => checkPeer(socket, name, { pid: state.pid, owner })
    return await connectSocket(runtimePaths(path, name).control, check, { halfOpen })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === "ENOENT" || code === "ECONNREFUSED") throw notOpen(name)
    throw error
  }
}

/** Throws as connectTresord. */
export async function connectVolume(name: string, reach: Reach = {}): Promise<VolumeClient> {
  return new VolumeClient(new ControlClient(await connectTresord(name, reach)), name)
}

export interface CloseOptions {
  /** Although clients are connected. */
  readonly force?: true
  /** When the last client leaves; it is not waited for. */
  readonly deferred?: true
}

/** Closes a volume and waits for the end of its process. */
export async function closeVolume(name: string, reach: Reach = {}, how: CloseOptions = {}): Promise<void> {
  const { state } = find(name, { others: reach.others === true })
  const client = await connectVolume(name, reach)
  try {
    await client.call("Close", { ...how })
  } catch (error) {
    // Somebody else closed it between our look and our call.
    if (!(error instanceof TresorError && error.code === "CONTROL_LOST")) throw error
  } finally {
    client[Symbol.dispose]()
  }
  if (!isLive(state) || how.deferred === true) return
  while (processStart(state.pid) === state.startTime) await new Promise((resolve) => setTimeout(resolve, 5))
}

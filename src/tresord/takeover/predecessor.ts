/** The tresord that runs: starts its successor, gives it the volume, and serves on when anything fails (messages.ts). */
import type { ChildProcess } from "node:child_process"
import { closeSync } from "node:fs"
import type { Socket } from "node:net"
import * as v from "valibot"
import { TresorError } from "../../base/errors.ts"
import { parseJson } from "../../base/json.ts"
import type { DaemonOptions } from "../../control/daemon-options.ts"
import { spawnSuccessor } from "../../control/daemon-process.ts"
import { processStart } from "../../control/runtime.ts"
import { refusedSchema } from "../../control/volume.ts"
import { targetInfo } from "../../enclave/succession.ts"
import type { Enclave } from "../../enclave/types.ts"
import type { OpenedKey } from "../../keyslots/unlock.ts"
import type { Segment } from "../../luks2/types.ts"
import { socketPair } from "../../native/addon.ts"
import type { HeldPath } from "../../store/held-path.ts"
import { TakeoverChannel } from "./channel.ts"
import type { HeldExport, Say, YieldedExport } from "./export.ts"
import { Limit } from "./limit.ts"
import { hear, segmentText, TAKEOVER_VERSION, type TakeoverMessage, takeoverFailed, tell } from "./messages.ts"

export interface Yielding {
  readonly yielded: YieldedExport
  /** The successor's. */
  readonly options: DaemonOptions
  readonly uuid: string
  /** As the header says by now. */
  readonly segment: Segment
  readonly held: readonly Pick<HeldPath, "path" | "fd">[]
  readonly enclave: Enclave
  readonly opened: OpenedKey
  readonly since: string
  /** Whose lease the store's is; the successor goes on as the same. `null`: it has none. */
  readonly leaseOwner: string | null
  readonly whereabouts: Whereabouts
}

/** What others find this tresord by: the control socket, the name in the runtime directory, the main PID of its unit. */
export interface Whereabouts {
  /** Accepts nobody; the descriptor is the caller's. */
  pause(): number
  /** Accepts again, with the name ours. */
  resume(fd: number): Promise<void>
  /** The successor serves, and waits until this has returned before it says so to systemd. Must not throw. */
  passed(to: Successor): void
}

/** Who serves the volume now. */
export interface Successor {
  readonly pid: number
  readonly version: string
  readonly mrenclave: string
}

/** An enclave's start takes seconds; a disk may be slow. */
const START_MS = 120_000
/** Clients wait for no longer. */
const HELD_MS = 30_000

interface Started {
  readonly channel: TakeoverChannel
  /** Rejects with its reason when it has ended. */
  readonly ended: Promise<never>
  /** Kills it, if it lives; before "begins" it is only left alone, and ends by itself. */
  end(): void
  /** Its PID has come. */
  begun(pid: number): void
}

function start(program: readonly string[], { options }: Yielding): Started {
  const [ours, theirs] = socketPair()
  const { child, lifeline, firstLine } = spawnSuccessor(program, theirs)
  closeSync(theirs)
  const channel = new TakeoverChannel(ours)
  // Its life hangs on the channel.
  lifeline.write(`${JSON.stringify(options)}\nstay\n`)
  const ended = endOf(child, lifeline, firstLine, options.name)
  // Not everybody waits for it.
  ended.catch(() => {})
  let successor: { readonly pid: number; readonly start: string | null } | null = null
  return {
    channel,
    ended,
    begun(pid) {
      successor = { pid, start: processStart(pid) }
    },
    end() {
      child.kill("SIGKILL")
      if (successor === null) lifeline.destroy()
      else if (successor.start !== null && processStart(successor.pid) === successor.start) {
        process.kill(successor.pid, "SIGKILL")
      }
    },
  }
}

/**
 * By a launcher it is no child of ours, and the end of `child` is not its own: that is when nobody has its end of the
 * lifeline any more, which is when its last thread has ended.
 */
async function endOf(
  child: ChildProcess,
  lifeline: Socket,
  firstLine: Promise<string | null>,
  name: string,
): Promise<never> {
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const closed = new Promise<void>((resolve) => lifeline.once("close", () => resolve()))
  const said = await firstLine.catch((error: Error) => {
    throw takeoverFailed(name, `the new tresord cannot be started (${error.message})`)
  })
  await Promise.all([exited, closed])
  const refused = v.safeParse(refusedSchema, said === null ? null : parseJson(said))
  const how = child.signalCode ?? (child.exitCode === 0 ? null : `exit code ${child.exitCode}`)
  throw refused.success
    ? new TresorError(refused.output.code, refused.output.exitCode, refused.output.message)
    : takeoverFailed(name, `the new tresord ended${how === null ? "" : ` (${how})`}`)
}

/**
 * Resolves when the successor serves; then nothing may be served here any more, and the name and all sockets are its own.
 * Rejects when this tresord serves on: as the enclave decides (ENCLAVE_APPROVAL, ENCLAVE_SUCCESSOR, ENCLAVE_SEAL_VERSION),
 * VOLUME_IN_USE (exit 5: a client stays in the middle of a request), UPGRADE_FAILED, or with what kept the successor
 * from starting.
 */
export async function yieldVolume(program: readonly string[], yielding: Yielding): Promise<Successor> {
  const { options, yielded, enclave, opened, whereabouts } = yielding
  const { name } = options
  const successor = start(program, yielding)
  const { channel, ended } = successor
  const limit = new Limit(() => successor.end())
  // One that has ended, or is to, rejects with its reason.
  const answer = async <K extends TakeoverMessage>(kind: K) => {
    const message = await hear(channel, name, kind)
    if (message !== null) return message
    // It has said why, if it could, and whatever it is doing, it serves nothing.
    successor.end()
    return ended
  }
  const orEnded = <T>(work: Promise<T>): Promise<T> => Promise.race([work, ended])
  const say: Say = (...message) => orEnded(tell(channel, ...message).catch(() => ended))
  let held: HeldExport | null = null
  let listening: number | null = null
  try {
    limit.set(START_MS)
    const { pid } = await answer("begins")
    successor.begun(pid)
    await offer(say, yielding)
    const { version, mrenclave, ...shown } = await answer("shows")
    await say("yields", { yielded: await enclave.yieldVolume(opened.handle, { mrenclave, ...shown }) })
    await answer("prepared")

    limit.set(HELD_MS)
    listening = whereabouts.pause()
    held = await yielded.hold()
    await orEnded(held.settle())
    await held.give(say)
    await giveState(say, yielding, listening)
    await answer("ready")
    held.letGo?.()
    if (held.patienceMs !== undefined) limit.set(Math.min(held.patienceMs, HELD_MS))
    await say("go", {})
    await answer("done")
    const serving = { pid, version, mrenclave }
    whereabouts.passed(serving)
    return serving
  } catch (error) {
    // Serves nothing, and will not.
    successor.end()
    await ended.catch(() => {})
    try {
      await held?.release()
    } finally {
      if (listening !== null) await whereabouts.resume(listening)
    }
    if (limit.passed) throw takeoverFailed(name, "the new tresord was not ready in time")
    throw error instanceof TresorError ? error : takeoverFailed(name, (error as Error).message)
  } finally {
    limit.clear()
    channel.close()
  }
}

async function offer(say: Say, { held, yielded, uuid, segment, enclave, leaseOwner }: Yielding): Promise<void> {
  const message = {
    version: TAKEOVER_VERSION,
    held: held.map(({ path }) => path),
    target: await targetInfo(enclave),
    uuid,
    segment: segmentText(segment),
    discards: yielded.discards,
    leaseOwner,
  } as const
  await say("offer", message, [...held.map(({ fd }) => fd), ...yielded.claims])
}

async function giveState(say: Say, { since, opened }: Yielding, control: number): Promise<void> {
  const { slot, authenticated, slotsChanged, slotsAdded, slotsRemoved } = opened
  const message = {
    since,
    slot,
    authenticated,
    slotsChanged: [...slotsChanged],
    slotsAdded: [...slotsAdded],
    slotsRemoved: [...slotsRemoved],
  }
  await say("state", message, [control])
}

/**
 * What two tresords say to each other when one takes an open volume over from the other, which has started it
 * (docs/decisions/0083). P is the one that runs, S its successor:
 *
 *   S begins     its PID: its parent is systemd (launcher/launcher.c)
 *   P offer      which volume, its store's descriptors, TARGETINFO of its enclave
 *   S shows      the REPORT of its enclave
 *   P yields     the volume key, encrypted to that enclave
 *   S prepared   it has store, header and key; P takes no more requests, finishes those it has, and flushes
 *   P client     one per NBD client: its socket, what was negotiated, what was received
 *   P nbd        the listening socket, counters
 *   P frontEnd   in the place of those, of --vhost-user: its sockets, memory and rings, if one is connected
 *   P vhost      the listening socket, counters
 *   P block      in the place of those: counters of a ublk device
 *   P mapping    likewise, of a dm-crypt mapping
 *   P state      the listening control socket, which keyslot opened
 *   S ready
 *   P go         from here on P serves only when S has ended
 *   S done       it serves; P wipes its keys, closes the channel and ends
 *
 * Until "go", P serves on whatever happens, and S ends without it. Between "go" and "done" S serves nothing, so that when
 * it dies P goes on; and when P dies S does, as nobody else can.
 */
import * as v from "valibot"
import { Exit, TresorError } from "../../base/errors.ts"
import { nameClients } from "../../export/clients.ts"
import type { Segment } from "../../luks2/types.ts"
import { inDecimal, type Received, type TakeoverChannel } from "./channel.ts"

export const TAKEOVER_VERSION = 1

const binary = v.pipe(
  v.string(),
  v.transform((text): Uint8Array => Buffer.from(text, "base64")),
)
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
/** 64 bits. */
const wide = v.pipe(
  v.string(),
  v.regex(/^\d{1,20}$/),
  v.transform((text) => BigInt(text)),
)

const counters = v.object({
  reads: count,
  writes: count,
  flushes: count,
  bytesRead: count,
  bytesWritten: count,
  errors: count,
  pending: count,
})

const ring = v.object({
  descriptors: count,
  next: count,
  address: v.nullable(v.object({ index: count, descriptors: wide, used: wide, available: wide })),
  enabled: v.boolean(),
  broken: v.boolean(),
  /** Which descriptors it has. */
  kick: v.boolean(),
  call: v.boolean(),
  error: v.boolean(),
})

/** By a block device's queues. */
const served = v.object({
  reads: count,
  writes: count,
  flushes: count,
  discards: count,
  bytesRead: count,
  bytesWritten: count,
  errors: count,
  waiting: count,
})

const takeoverMessages = {
  begins: v.object({ pid: count }),
  /** Descriptors: of each path held, then the store's claims. */
  offer: v.object({
    version: v.literal(TAKEOVER_VERSION),
    held: v.array(v.string()),
    target: binary,
    uuid: v.string(),
    /** LUKS2's, in JSON: the header must still say the same. */
    segment: v.string(),
    discards: v.boolean(),
    leaseOwner: v.nullable(v.string()),
  }),
  shows: v.object({ version: v.string(), mrenclave: v.string(), publicKey: binary, report: binary, nonce: binary }),
  yields: v.object({ yielded: binary }),
  prepared: v.object({}),
  /** Descriptor: its socket. */
  client: v.object({ structured: v.boolean(), allocation: v.boolean(), input: binary }),
  /** Descriptor: the listening socket. */
  nbd: v.object({ clients: count, refused: count, size: count, counters }),
  /** Descriptors: as filesOf in src/vhost/front-end.ts. */
  frontEnd: v.object({
    backend: v.boolean(),
    features: wide,
    protocol: wide,
    told: count,
    memory: v.nullable(v.array(v.object({ guest: wide, size: wide, user: wide, offset: wide }))),
    record: v.nullable(v.object({ offset: count, size: count, rings: count, descriptors: count })),
    eventIndex: v.boolean(),
    rings: v.array(ring),
  }),
  /** Descriptor: the listening socket. `served`: by the rings, beside the volume's own. */
  vhost: v.object({
    connected: v.boolean(),
    refused: count,
    size: count,
    counters,
    served: v.object({ ...counters.entries, discards: count }),
  }),
  block: v.object({ counters: served }),
  mapping: v.object({ counters: v.object({ batches: count, blocks: count, bytes: count, failures: count }) }),
  /** Descriptor: the listening control socket. */
  state: v.object({
    since: v.string(),
    slot: count,
    authenticated: v.boolean(),
    slotsChanged: v.array(count),
    slotsAdded: v.array(count),
    slotsRemoved: v.array(count),
  }),
  ready: v.object({}),
  go: v.object({}),
  done: v.object({}),
} as const

export type TakeoverMessage = keyof typeof takeoverMessages
type Output<K extends TakeoverMessage> = v.InferOutput<(typeof takeoverMessages)[K]>
export type Message<K extends TakeoverMessage> = { readonly [F in keyof Output<K>]: Output<K>[F] }

/** UPGRADE_FAILED (exit 4): what kept either of them from it. The predecessor serves on. */
export function takeoverFailed(name: string, fact: string): TresorError {
  return new TresorError("UPGRADE_FAILED", Exit.wrongDevice, `Cannot upgrade ${name}: ${fact}; it is served as before`)
}

/** Clients that keep a takeover up, by their process IDs. */
export function takeoverStalled(name: string, pids: readonly number[]): TresorError {
  return new TresorError(
    "VOLUME_IN_USE",
    Exit.busy,
    `Cannot upgrade ${name}: ${nameClients(pids)} stopped in the middle of a request or takes no answers; ` +
      "end that first; it is served as before",
  )
}

/** The predecessor cannot go on: `cause` says why. */
export function unserved(name: string, { message }: Error): TresorError {
  return new TresorError(
    "UPGRADE_FAILED",
    Exit.wrongDevice,
    `Cannot upgrade ${name}, nor serve it as before: ${message}; its I/O waits, and \`tresor setkey ${name}\` tries again`,
  )
}

/** Uint8Arrays as base64. */
export function tell<K extends TakeoverMessage>(
  channel: TakeoverChannel,
  kind: K,
  message: Message<K>,
  fds: readonly number[] = [],
): Promise<void> {
  const fields = Object.entries(message).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value,
  ])
  return channel.send({ kind, ...Object.fromEntries(fields) }, fds)
}

export type Heard<K extends TakeoverMessage> = K extends TakeoverMessage
  ? Output<K> & Pick<Received, "fds"> & { readonly kind: K }
  : never

/** The next message, of one of these kinds; `null`: the other process has ended. Throws UPGRADE_FAILED for any other. */
export async function hear<K extends TakeoverMessage>(
  channel: TakeoverChannel,
  name: string,
  ...kinds: readonly K[]
): Promise<Heard<K> | null> {
  const received = await channel.receive()
  if (received === null) return null
  for (const kind of kinds) {
    const schema = v.object({ kind: v.literal(kind), ...takeoverMessages[kind].entries })
    const result = v.safeParse(schema, received.message)
    if (result.success) return { ...result.output, fds: received.fds } as unknown as Heard<K>
  }
  throw takeoverFailed(name, `the other tresord does not say "${kinds.join('" or "')}" as it should`)
}

/** Equal for segments that are. */
export function segmentText(segment: Segment): string {
  return JSON.stringify(segment, inDecimal)
}

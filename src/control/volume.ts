/**
 * io.tresor.Volume: what a tresord answers. The text is what varlinkctl shows,
 * the schemas are what both sides check. Only public data crosses in clear:
 * passphrases are sealed to the enclave by the asker.
 */
import * as v from "valibot"
import { BACKENDS, context, hello, Limit } from "../abi/enclave.ts"
import { report, TARGET_INFO_SIZE } from "../abi/sgx.ts"
import { receivedCode } from "../base/error-codes.ts"
import { EXPORTS } from "./daemon-options.ts"

export const VOLUME_INTERFACE = "io.tresor.Volume"

/** The `cipher` of a tresord that serves mappings of 2016's flow: its passphrases are sealed for "legacy". */
export const LEGACY_CIPHER = "legacy"

export const VOLUME_DESCRIPTION = `# One open (or waiting) Tresor volume.
# Binary values are base64. Sizes are bytes.
interface io.tresor.Volume

type Identity (
  backend: string,
  mrenclave: string,
  mrsigner: string,
  isvProdId: int,
  isvSvn: int,
  cpuSvn: string,
  debug: bool,
  xfrm: string,
  publicKey: string,
  aes: string,
  kdfMemoryKib: int,
  # Each: EPC, memfd_secret, mlock or plain.
  memory: (keys: string, stacks: string, heap: string)
)

# What changed in the header since it was authenticated; null when it never was.
type Header (slotsChanged: []int, slotsAdded: []int, slotsRemoved: []int)

# How requests reach a file or block device: "io_uring", or "threads" where the kernel refuses it, with an errno's
# name. Requests under way at once are at most "bound"; "stranded" ones were never answered by the device. failed: an
# errno's name, once a flush has failed: what was written before may be lost, and nothing is written any more. "threads"
# move and decrypt beside the event loop.
type Disk (
  engine: string,
  refusal: ?string,
  underWay: int,
  deepest: int,
  bound: int,
  stranded: int,
  failed: ?string,
  threads: int
)

# The NBD server that has the data. "connected", "waiting": requests wait for it. "failing": they end in EIO until it is
# back. "ended": no more writes until the volume is opened again. reason: why it is not connected.
type Server (state: string, reason: ?string)

# The right to use a store that other machines reach. "held", for so many seconds unless renewed. "late": requests wait.
# "expired": they end in EIO until it is renewed. "lost": until the volume is opened again. reason: why it is not held, or
# why the last renewal failed.
type Lease (name: string, owner: string, state: string, seconds: int, reason: ?string)

# A pending reencryption of the volume: "running"; "paused", and both keys are used; or "stopped" by an error, which
# error tells, and Reencrypt goes on. done: bytes under the new key, of total.
type Reencryption (state: string, done: int, total: int, error: ?string)

type Volume (
  name: string,
  path: string,
  # Data and detached header, where they are no NBD exports, as they were found at the start: "file DEV INO" or
  # "device RDEV", in decimal. Both stay in use when the path comes to lead elsewhere.
  opened: [](path: string, identity: string),
  uuid: string,
  label: string,
  # "locked": waits for Unlock, I/O waits. "unlocked": serves. "failed": no key in time, I/O
  # ends in EIO until Unlock. "closing": drains.
  state: string,
  pid: int,
  # How the plaintext is reached: "nbd", "block", "vhost-user" or "kernel"; uri says where.
  export: string,
  uri: string,
  socket: string,
  size: int,
  sectorSize: int,
  cipher: string,
  keySize: int,
  readonly: bool,
  discards: bool,
  since: string,
  keyslot: ?int,
  header: ?Header,
  enclave: Identity,
  # Cycles the software backend burns per entry and exit to model SGX; 0: none.
  transitionCycles: int,
  # null: its data lie on an NBD server, or the kernel reads and writes them.
  disk: ?Disk,
  # null: its data lie on no NBD server.
  server: ?Server,
  # null: it has none.
  lease: ?Lease,
  # Of --block: the kernel's name of the block device that uri is a link to. null: there is none before the first Unlock.
  device: ?string,
  # null: none is pending.
  reencryption: ?Reencryption,
  counters: [string]int
)

# With "more": one reply now and one at each change of state.
method Status() -> (volume: Volume)

# Enclaves that keyslots are sealed to and that run here no more. kept: their image is on this machine, so that they
# can hand the keyslots' salts to the one that runs now (Succeed).
method Predecessors() -> (enclaves: [](mrenclave: string, slots: []int, kept: bool))

# A single-use nonce for one sealed request with this purpose ("unlock", "legacy", "succeed", "approve", "reencrypt"), and the public parameters
# that the request has to name. "unlock", "succeed", "approve": u32 1 with MACs or 0, struct tresor_segment, struct tresor_digest, struct
# tresor_keyslot[], without host addresses. "legacy": u32 make, u32 policy, struct tresor_kdf. "reencrypt": u32 1 when its state has a MAC
# or 0, u32 bytes of the next, those of the header before, those of the header after, struct tresor_pass, struct tresor_progress; vouched is as in
# Reencrypt. Structs of abi/enclave.h.
# predecessor: the MRENCLAVE of one of Predecessors, which is started for it; with "succeed", and only then.
method Challenge(purpose: string, predecessor: ?string, vouched: ?bool) -> (nonce: string, parameters: string, enclave: Identity)

# EREPORT for a target, binding the enclave's public key and the asker's nonce; the status; and whose report it is.
method Report(targetInfo: string, nonce: string, predecessor: ?string) -> (
  report: string,
  volume: Volume,
  enclave: Identity
)

# A quote by that machine's aesmd, binding the same. Refused by the software backend, for which nobody vouches.
method Quote(nonce: string, predecessor: ?string) -> (quote: string)

# Has the predecessor hand a keyslot's salt to the enclave that runs now. The message is sealed to the predecessor with
# purpose "succeed", and names that enclave's MRENCLAVE. The next Unlock with that keyslot saves the new seal.
# downgrade: also to a lower ISVSVN.
method Succeed(
  predecessor: string,
  slot: ?int,
  downgrade: bool,
  nonce: string,
  request: string,
  message: string
) -> (slot: int)

# message: HPKE enc, ciphertext and tag. slot null: any keyslot. unsealed: keyslots without a sealed salt may be tried.
# request: SHA-256 of the parameters, as the message's context has it.
method Unlock(
  uuid: string,
  slot: ?int,
  unsealed: bool,
  nonce: string,
  request: string,
  message: string
) -> (volume: Volume)

# Unlocks a volume whose reencryption is pending, which Unlock refuses. goOn: the reencryption goes on, beside the volume's
# requests; the reply comes when it has begun, and Status tells how far it is. The message is sealed with purpose
# "reencrypt". vouched: for what another program made of it. hotZone: most bytes of a zone. throttle: bytes in a second; 0: as
# fast as the volume's own requests leave room for.
method Reencrypt(
  uuid: string,
  unsealed: bool,
  goOn: bool,
  vouched: bool,
  hotZone: int,
  throttle: int,
  nonce: string,
  request: string,
  message: string
) -> (volume: Volume)

# The reencryption that runs pauses at the end of its zone; the reply comes then.
method Pause() -> (volume: Volume)

# Wipes the keys; I/O waits until Unlock. wiped: there were any. ifRemoved: only if the block device with the data is gone
# from the machine; I/O ends in EIO then, since that device will not come back.
method Lock(ifRemoved: ?bool) -> (wiped: bool)

# Lets an enclave take the volume over without its passphrase (Upgrade), from now on and as long as it is unlocked. The
# message is sealed with purpose "approve", and names that enclave's MRENCLAVE.
method Approve(
  slot: ?int,
  unsealed: bool,
  successor: string,
  nonce: string,
  request: string,
  message: string
) -> (slot: int)

# Starts this program, a tresord with its leading arguments, which takes the volume over: key, store, sockets, clients.
# The reply comes when it serves; this process ends then. Refused: this process serves on.
method Upgrade(program: []string) -> (pid: int, version: string, mrenclave: string)

# Takes the backing store's new size over.
method Resize() -> (size: int)

# Drains, wipes, flushes, ends the process. The reply comes once data is on stable storage. Refused with
# exitCode 5 while clients are connected, unless force is true. deferred: the reply comes at once, and the
# volume is closed when the last client leaves.
method Close(force: ?bool, deferred: ?bool) -> ()

# exitCode is cryptsetup's.
error Refused (code: string, exitCode: int, message: string)
`

const bytes = (size?: number) =>
  v.pipe(
    v.string(),
    // Not by a regular expression: a key file has up to 8 MiB, and V8's stack ends before.
    v.check((text) => Buffer.from(text, "base64").toString("base64") === text, "not base64"),
    v.transform((text): Uint8Array => Buffer.from(text, "base64")),
    v.check((value) => size === undefined || value.length === size, `not ${size} bytes`),
  )

const slot = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Limit.keyslots - 1))
const count = v.pipe(v.number(), v.integer(), v.minValue(0))

/** Names of counters become names of metrics. */
const COUNTER = /^[A-Za-z][A-Za-z0-9_.]{0,60}$/
const MOST_COUNTERS = 100

const counters = v.pipe(
  v.record(v.pipe(v.string(), v.regex(COUNTER)), count),
  v.check((all) => Object.keys(all).length <= MOST_COUNTERS, `more than ${MOST_COUNTERS} counters`),
)

/** Data and detached header; each is looked at by a process of its own. */
const MOST_OPENED = 8

const measurement = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))

const memoryKind = v.pipe(v.string(), v.regex(/^(EPC|memfd_secret|mlock|plain)$/))

const identitySchema = v.object({
  backend: v.picklist(BACKENDS),
  mrenclave: measurement,
  mrsigner: measurement,
  isvProdId: count,
  isvSvn: count,
  cpuSvn: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
  debug: v.boolean(),
  xfrm: v.pipe(
    v.string(),
    v.regex(/^[0-9]{1,20}$/),
    v.transform((text) => BigInt(text)),
  ),
  publicKey: bytes(hello.fields.public_key),
  aes: v.string(),
  kdfMemoryKib: count,
  memory: v.object({ keys: memoryKind, stacks: memoryKind, heap: memoryKind }),
})

const diskSchema = v.object({
  engine: v.picklist(["io_uring", "threads"]),
  refusal: v.nullable(v.string()),
  underWay: count,
  deepest: count,
  bound: count,
  stranded: count,
  failed: v.nullable(v.string()),
  threads: count,
})

const serverSchema = v.object({
  state: v.picklist(["connected", "waiting", "failing", "ended"]),
  reason: v.nullable(v.string()),
})

const leaseSchema = v.object({
  name: v.string(),
  owner: v.string(),
  state: v.picklist(["held", "late", "expired", "lost"]),
  seconds: count,
  reason: v.nullable(v.string()),
})

const reencryptionSchema = v.object({
  state: v.picklist(["paused", "running", "stopped"]),
  done: count,
  total: count,
  error: v.nullable(v.string()),
})

export const volumeSchema = v.object({
  name: v.string(),
  path: v.string(),
  opened: v.pipe(v.array(v.object({ path: v.string(), identity: v.string() })), v.maxLength(MOST_OPENED)),
  uuid: v.string(),
  label: v.string(),
  state: v.picklist(["locked", "unlocked", "failed", "closing"]),
  pid: count,
  export: v.picklist(EXPORTS),
  uri: v.string(),
  socket: v.string(),
  size: count,
  sectorSize: count,
  cipher: v.string(),
  keySize: count,
  readonly: v.boolean(),
  discards: v.boolean(),
  since: v.string(),
  keyslot: v.nullable(slot),
  header: v.nullable(v.object({ slotsChanged: v.array(slot), slotsAdded: v.array(slot), slotsRemoved: v.array(slot) })),
  enclave: identitySchema,
  transitionCycles: count,
  disk: v.nullable(diskSchema),
  server: v.nullable(serverSchema),
  lease: v.nullable(leaseSchema),
  device: v.nullable(v.string()),
  reencryption: v.optional(v.nullable(reencryptionSchema), null),
  counters,
})

export type VolumeStatus = v.InferOutput<typeof volumeSchema>

const purpose = v.picklist(["unlock", "legacy", "succeed", "approve", "reencrypt"])
/** The enclave that runs, unless it is one of Predecessors. */
const predecessor = v.optional(v.nullable(measurement), null)
const uuid = v.pipe(v.string(), v.maxLength(context.fields.uuid - 1))

/** Per method: what goes in, what comes out. */
export const volumeMethods = {
  Status: { input: v.strictObject({}), output: v.object({ volume: volumeSchema }) },
  Predecessors: {
    input: v.strictObject({}),
    output: v.object({
      enclaves: v.array(v.object({ mrenclave: measurement, slots: v.array(slot), kept: v.boolean() })),
    }),
  },
  Challenge: {
    input: v.strictObject({ purpose, predecessor, vouched: v.optional(v.nullable(v.boolean()), null) }),
    output: v.object({ nonce: bytes(context.fields.nonce), parameters: bytes(), enclave: identitySchema }),
  },
  Report: {
    input: v.strictObject({
      targetInfo: bytes(TARGET_INFO_SIZE),
      nonce: bytes(context.fields.nonce),
      predecessor,
    }),
    output: v.object({ report: bytes(report.size), volume: volumeSchema, enclave: identitySchema }),
  },
  Quote: {
    input: v.strictObject({ nonce: bytes(context.fields.nonce), predecessor }),
    output: v.object({ quote: bytes() }),
  },
  Succeed: {
    input: v.strictObject({
      predecessor: measurement,
      slot: v.optional(v.nullable(slot), null),
      downgrade: v.boolean(),
      nonce: bytes(context.fields.nonce),
      request: bytes(context.fields.request),
      message: bytes(),
    }),
    output: v.object({ slot }),
  },
  Unlock: {
    input: v.strictObject({
      uuid,
      slot: v.optional(v.nullable(slot), null),
      unsealed: v.boolean(),
      nonce: bytes(context.fields.nonce),
      request: bytes(context.fields.request),
      message: bytes(),
    }),
    output: v.object({ volume: volumeSchema }),
  },
  Reencrypt: {
    input: v.strictObject({
      uuid,
      unsealed: v.boolean(),
      goOn: v.boolean(),
      vouched: v.boolean(),
      hotZone: count,
      throttle: count,
      nonce: bytes(context.fields.nonce),
      request: bytes(context.fields.request),
      message: bytes(),
    }),
    output: v.object({ volume: volumeSchema }),
  },
  Pause: { input: v.strictObject({}), output: v.object({ volume: volumeSchema }) },
  Approve: {
    input: v.strictObject({
      slot: v.optional(v.nullable(slot), null),
      unsealed: v.boolean(),
      successor: measurement,
      nonce: bytes(context.fields.nonce),
      request: bytes(context.fields.request),
      message: bytes(),
    }),
    output: v.object({ slot }),
  },
  Upgrade: {
    input: v.strictObject({ program: v.pipe(v.array(v.string()), v.minLength(1)) }),
    output: v.object({ pid: count, version: v.string(), mrenclave: measurement }),
  },
  Lock: {
    input: v.strictObject({ ifRemoved: v.optional(v.nullable(v.boolean()), null) }),
    output: v.object({ wiped: v.boolean() }),
  },
  Resize: { input: v.strictObject({}), output: v.object({ size: count }) },
  Close: {
    input: v.strictObject({
      force: v.optional(v.nullable(v.boolean()), null),
      deferred: v.optional(v.nullable(v.boolean()), null),
    }),
    output: v.object({}),
  },
} as const

export type VolumeMethod = keyof typeof volumeMethods
export type VolumeInput<M extends VolumeMethod> = v.InferOutput<(typeof volumeMethods)[M]["input"]>
export type VolumeOutput<M extends VolumeMethod> = v.InferOutput<(typeof volumeMethods)[M]["output"]>

/** Parameters of the error io.tresor.Volume.Refused. */
export const refusedSchema = v.object({
  code: v.pipe(v.string(), v.transform(receivedCode)),
  exitCode: v.picklist([1, 2, 3, 4, 5]),
  message: v.string(),
})

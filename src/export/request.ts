/** A request's header, and what is wrong with it before any work is done. Pure. */
import { type Errno, IoError } from "../base/io-error.ts"
import { Command, CommandFlag, MAX_PAYLOAD, REQUEST_MAGIC } from "../nbd/protocol.ts"

export interface Request {
  readonly type: number
  readonly flags: number
  readonly cookie: bigint
  /** Not exact past 2^53, where no export reaches. */
  readonly offset: number
  readonly length: number
}

/** What a request is checked against. */
export interface ExportFacts {
  readonly size: number
  readonly readOnly: boolean
  readonly trims: boolean
  readonly structured: boolean
  /** base:allocation was asked for. */
  readonly allocation: boolean
}

/** The header at `at`. `null`: not a request, so the stream has lost its framing. */
export function parseRequest(bytes: DataView, at: number): Request | null {
  if (bytes.getUint32(at) !== REQUEST_MAGIC) return null
  return {
    flags: bytes.getUint16(at + 4),
    type: bytes.getUint16(at + 6),
    cookie: bytes.getBigUint64(at + 8),
    offset: bytes.getUint32(at + 16) * 2 ** 32 + bytes.getUint32(at + 20),
    length: bytes.getUint32(at + 24),
  }
}

/** Bytes that follow the header. */
export const payloadOf = ({ type, length }: Request): number => (type === Command.write ? length : 0)

/** Bytes of plaintext that the request or its reply holds. */
export const costOf = ({ type, length }: Request): number =>
  type === Command.write || type === Command.read ? length : 0

const { fua, noHole, df, reqOne } = CommandFlag
/** FUA says nothing about these, and is allowed on all. */
const FLAGS = new Map<number, number>([
  [Command.read, fua | df],
  [Command.write, fua],
  [Command.flush, fua],
  [Command.trim, fua],
  [Command.cache, fua],
  [Command.writeZeroes, fua | noHole],
  [Command.blockStatus, fua | reqOne],
])

/** Throws IoError with what the protocol answers to a request that is not to be tried. */
export function checkRequest({ type, flags, offset, length }: Request, facts: ExportFacts): void {
  const refuse = (code: Errno, why: string): never => {
    throw new IoError(code, why)
  }
  const allowed = FLAGS.get(type)
  if (allowed === undefined) throw new IoError("EINVAL", `no command has the number ${type}`)
  if ((flags & ~allowed) !== 0) refuse("EINVAL", `flags 0x${flags.toString(16)} are not valid for command ${type}`)
  if ((flags & df) !== 0 && !facts.structured) refuse("EINVAL", "DF needs structured replies")
  if (type === Command.flush) return
  const changes = type === Command.write || type === Command.trim || type === Command.writeZeroes
  if (changes && facts.readOnly) refuse("EPERM", "the export is read-only")
  if (type === Command.trim && !facts.trims) refuse("EINVAL", "TRIM is not offered; discards are not allowed")
  if (type === Command.blockStatus && (!facts.allocation || length === 0)) {
    refuse("EINVAL", length === 0 ? "an empty range has no status" : "no metadata context was chosen")
  }
  if (type === Command.read && length > MAX_PAYLOAD) refuse("EINVAL", `a read has at most ${MAX_PAYLOAD} bytes`)
  if (offset + length > facts.size) {
    const grows = type === Command.write || type === Command.writeZeroes
    refuse(grows ? "ENOSPC" : "EINVAL", `${offset}+${length} ends past ${facts.size}`)
  }
}

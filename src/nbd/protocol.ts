/** Numbers of the NBD protocol (doc/proto.md of the NBD project); everything on the wire is big endian. */
import type { Errno } from "../base/io-error.ts"

export const NBDMAGIC = 0x4e42444d41474943n
export const IHAVEOPT = 0x49484156454f5054n
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n
export const REQUEST_MAGIC = 0x25609513
export const SIMPLE_REPLY_MAGIC = 0x67446698
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef

export const Handshake = { fixedNewstyle: 1, noZeroes: 2 } as const

export const Option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const

export const OptionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: 0x80000001,
  policy: 0x80000002,
  invalid: 0x80000003,
  unknown: 0x80000006,
  tooBig: 0x80000009,
} as const

export const Info = { export: 0, name: 1, blockSize: 3 } as const

export const Transmission = {
  hasFlags: 1,
  readOnly: 2,
  flush: 4,
  fua: 8,
  trim: 32,
  writeZeroes: 64,
  df: 128,
  multiConn: 256,
  cache: 1024,
} as const

export const Command = {
  read: 0,
  write: 1,
  disc: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const

export const CommandFlag = { fua: 1, noHole: 2, df: 4, reqOne: 8 } as const

export const Chunk = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  error: 0x8001,
  errorOffset: 0x8002,
} as const
export const CHUNK_DONE = 1

/** The largest payload of a request or a reply, in bytes; what clients assume who do not ask. */
export const MAX_PAYLOAD = 32 << 20
/** Holds the longest legal name with room for what goes with it. */
export const MAX_OPTION = 16 << 10
export const REQUEST_BYTES = 28
export const BASE_ALLOCATION = "base:allocation"

const ERRNO: Readonly<Record<Errno, number>> = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
}

export const errnoNumber = (code: Errno): number => ERRNO[code]

/** What a peer sent; numbers that have no name here are EINVAL, as the protocol says. */
export function errnoName(value: number): Errno {
  for (const [name, number] of Object.entries(ERRNO)) if (number === value) return name as Errno
  return "EINVAL"
}

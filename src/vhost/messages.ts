/**
 * Messages of the vhost-user protocol, as its specification has them (QEMU, docs/interop/vhost-user.rst): what a
 * back-end receives and sends. Pure.
 */

export const HEADER_SIZE = 12
/** Of a payload: the largest that is taken is a configuration space. */
export const MOST_PAYLOAD = 1024
/** Of VHOST_USER_SET_MEM_TABLE without VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS. */
const MOST_REGIONS = 8

export const Request = {
  getFeatures: 1,
  setFeatures: 2,
  setOwner: 3,
  resetOwner: 4,
  setMemoryTable: 5,
  setVringNumber: 8,
  setVringAddress: 9,
  setVringBase: 10,
  getVringBase: 11,
  setVringKick: 12,
  setVringCall: 13,
  setVringError: 14,
  getProtocolFeatures: 15,
  setProtocolFeatures: 16,
  getQueueNumber: 17,
  setVringEnable: 18,
  setBackendChannel: 21,
  getConfig: 24,
  setConfig: 25,
  getInflight: 31,
  setInflight: 32,
} as const

/** By the back-end, on the channel of its own. */
export const BackendRequest = { configChange: 2 } as const

const VERSION = 1
const VERSION_MASK = 3
const FLAG_REPLY = 4
const FLAG_NEED_REPLY = 8

/** Bit of the features: protocol features are spoken of, and rings start disabled. */
export const PROTOCOL_FEATURES = 1n << 30n

export const ProtocolFeature = {
  mq: 1n << 0n,
  replyAck: 1n << 3n,
  backendRequest: 1n << 5n,
  config: 1n << 9n,
  inflight: 1n << 12n,
} as const

/** What a peer sent that no front-end sends. */
export class MessageError extends Error {
  override readonly name = "MessageError"
}

export interface Header {
  readonly request: number
  /** Asks to be told how it went, where the protocol feature REPLY_ACK is on. */
  readonly needsReply: boolean
  /** Bytes that follow. */
  readonly size: number
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export function readHeader(bytes: Uint8Array): Header {
  const view = viewOf(bytes)
  const flags = view.getUint32(4, true)
  const size = view.getUint32(8, true)
  if ((flags & VERSION_MASK) !== VERSION) throw new MessageError(`version ${flags & VERSION_MASK} of the protocol`)
  if (size > MOST_PAYLOAD) throw new MessageError(`a payload of ${size} bytes`)
  return { request: view.getUint32(0, true), needsReply: (flags & FLAG_NEED_REPLY) !== 0, size }
}

/** The payload's view, of exactly `size` bytes. */
function exactly(payload: Uint8Array, size: number): DataView {
  if (payload.length !== size) throw new MessageError(`a payload of ${payload.length} bytes in the place of ${size}`)
  return viewOf(payload)
}

export const readNumber = (payload: Uint8Array): bigint => exactly(payload, 8).getBigUint64(0, true)

export interface VringState {
  readonly index: number
  readonly value: number
}

export function readVringState(payload: Uint8Array): VringState {
  const view = exactly(payload, 8)
  return { index: view.getUint32(0, true), value: view.getUint32(4, true) }
}

export interface VringAddress {
  readonly index: number
  /** Addresses of the front-end's. */
  readonly descriptors: bigint
  readonly used: bigint
  readonly available: bigint
}

export function readVringAddress(payload: Uint8Array): VringAddress {
  const view = exactly(payload, 40)
  return {
    index: view.getUint32(0, true),
    descriptors: view.getBigUint64(8, true),
    used: view.getBigUint64(16, true),
    available: view.getBigUint64(24, true),
  }
}

/** Of kick, call and err: the ring, and whether a descriptor comes along. */
export function readVringFile(payload: Uint8Array): { readonly index: number; readonly file: boolean } {
  const value = readNumber(payload)
  return { index: Number(value & 0xffn), file: (value & 0x100n) === 0n }
}

export interface MemoryRegion {
  /** Address of the guest's. */
  readonly guest: bigint
  readonly size: bigint
  /** Address of the front-end's. */
  readonly user: bigint
  /** In the file. */
  readonly offset: bigint
}

export function readMemoryTable(payload: Uint8Array): readonly MemoryRegion[] {
  if (payload.length < 8) throw new MessageError(`a table of memory of ${payload.length} bytes`)
  const count = viewOf(payload).getUint32(0, true)
  if (count === 0 || count > MOST_REGIONS) throw new MessageError(`${count} regions of memory`)
  const view = exactly(payload, 8 + 32 * count)
  return Array.from({ length: count }, (_, row) => ({
    guest: view.getBigUint64(8 + 32 * row, true),
    size: view.getBigUint64(16 + 32 * row, true),
    user: view.getBigUint64(24 + 32 * row, true),
    offset: view.getBigUint64(32 + 32 * row, true),
  }))
}

export interface Inflight {
  readonly size: bigint
  readonly offset: bigint
  readonly rings: number
  /** Descriptors of each. */
  readonly descriptors: number
}

/** QEMU's structure has four bytes of padding behind it. */
const INFLIGHT_SIZE = 20

export function readInflight(payload: Uint8Array): Inflight {
  if (payload.length < INFLIGHT_SIZE || payload.length > 24) {
    throw new MessageError(`an inflight description of ${payload.length} bytes`)
  }
  const view = viewOf(payload)
  return {
    size: view.getBigUint64(0, true),
    offset: view.getBigUint64(8, true),
    rings: view.getUint16(16, true),
    descriptors: view.getUint16(18, true),
  }
}

export function inflightPayload({ size, offset, rings, descriptors }: Inflight, length: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(INFLIGHT_SIZE, length))
  const view = viewOf(bytes)
  view.setBigUint64(0, size, true)
  view.setBigUint64(8, offset, true)
  view.setUint16(16, rings, true)
  view.setUint16(18, descriptors, true)
  return bytes
}

export interface ConfigRange {
  readonly offset: number
  readonly size: number
  readonly flags: number
}

/** The range that is asked for; its bytes come along, of no meaning. */
export function readConfigRange(payload: Uint8Array): ConfigRange {
  if (payload.length < 12) throw new MessageError(`a configuration request of ${payload.length} bytes`)
  const view = viewOf(payload)
  return { offset: view.getUint32(0, true), size: view.getUint32(4, true), flags: view.getUint32(8, true) }
}

/** `config` from `offset` on, zeros behind it. */
export function configPayload({ offset, size, flags }: ConfigRange, config: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + size)
  const view = viewOf(bytes)
  view.setUint32(0, offset, true)
  view.setUint32(4, size, true)
  view.setUint32(8, flags, true)
  bytes.set(config.subarray(Math.min(offset, config.length), Math.min(offset + size, config.length)), 12)
  return bytes
}

export function numberPayload(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  viewOf(bytes).setBigUint64(0, value, true)
  return bytes
}

export function vringStatePayload({ index, value }: VringState): Uint8Array {
  const bytes = new Uint8Array(8)
  const view = viewOf(bytes)
  view.setUint32(0, index, true)
  view.setUint32(4, value, true)
  return bytes
}

function message(request: number, flags: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length)
  const view = viewOf(bytes)
  view.setUint32(0, request, true)
  view.setUint32(4, VERSION | flags, true)
  view.setUint32(8, payload.length, true)
  bytes.set(payload, HEADER_SIZE)
  return bytes
}

/** To a request of the front-end's. */
export const reply = (request: number, payload: Uint8Array): Uint8Array => message(request, FLAG_REPLY, payload)
/** A request of ours, which nobody has to answer. */
export const backendRequest = (request: number): Uint8Array => message(request, 0, new Uint8Array(0))

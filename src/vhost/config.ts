/** What a guest is told of the disk: features and configuration space of virtio-blk (virtio 1.2, 5.2). Pure. */

const Feature = {
  segMax: 1n << 2n,
  readOnly: 1n << 5n,
  blockSize: 1n << 6n,
  flush: 1n << 9n,
  mq: 1n << 12n,
  discard: 1n << 13n,
  writeZeroes: 1n << 14n,
  indirect: 1n << 28n,
  eventIndex: 1n << 29n,
  version1: 1n << 32n,
} as const

export const EVENT_INDEX = Feature.eventIndex

/** Bytes; virtio's own, whatever the volume's are. */
const SECTOR = 512
/** Data buffers of one request; what addon/vhost/request.h has room for. */
const SEGMENTS = 126
/** Rows of a discard, and sectors of one: REQUEST_SEGMENTS, DISCARD_SIZE and ZERO_SIZE there. */
const DISCARD_ROWS = 16
const DISCARD_SECTORS = (1 << 30) / SECTOR
const ZERO_SECTORS = (32 << 20) / SECTOR

export interface Geometry {
  /** Bytes. */
  readonly size: number
  readonly sectorSize: number
  readonly readOnly: boolean
  readonly discards: boolean
}

export function features({ readOnly, discards }: Geometry): bigint {
  const { segMax, blockSize, flush, mq, indirect, eventIndex, version1 } = Feature
  return (
    segMax |
    blockSize |
    flush |
    mq |
    indirect |
    eventIndex |
    version1 |
    (readOnly ? Feature.readOnly : Feature.writeZeroes) |
    (discards ? Feature.discard : 0n)
  )
}

/** struct virtio_blk_config, to write_zeroes_may_unmap. */
export function configSpace({ size, sectorSize, readOnly, discards }: Geometry, rings: number): Uint8Array {
  const bytes = new Uint8Array(60)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(size / SECTOR), true)
  view.setUint32(12, SEGMENTS, true)
  view.setUint32(20, sectorSize, true)
  // A write-back cache: the guest flushes.
  view.setUint8(32, 1)
  view.setUint16(34, rings, true)
  if (discards) {
    view.setUint32(36, DISCARD_SECTORS, true)
    view.setUint32(40, DISCARD_ROWS, true)
    view.setUint32(44, sectorSize / SECTOR, true)
  }
  if (!readOnly) {
    view.setUint32(48, ZERO_SECTORS, true)
    view.setUint32(52, DISCARD_ROWS, true)
  }
  return bytes
}

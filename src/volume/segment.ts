/** Where a volume's data lie in its store, which may have been cut off since. Pure. */
import { IoError } from "../base/io-error.ts"

export interface SegmentPlace {
  /** Bytes; where the segment starts in the store. */
  readonly offset: number
  /** Bytes; `null`: to the end of the store, in whole sectors. */
  readonly size: number | null
  readonly sectorSize: number
}

/** Bytes of a segment in a store of that size. Throws EINVAL when it is not all there, or no whole sectors. */
export function segmentSize(storeSize: number, { offset, size, sectorSize }: SegmentPlace): number {
  const room = storeSize - offset
  const outside = (verb: string, at: number) =>
    new IoError("EINVAL", `its data would ${verb} at byte ${at}, and it ends at ${storeSize}; it may be truncated`)
  if (room < sectorSize) throw outside("begin", offset)
  const wanted = size ?? room - (room % sectorSize)
  if (wanted > room) throw outside("end", offset + wanted)
  if (offset % 512 !== 0 || wanted % sectorSize !== 0 || wanted <= 0) {
    throw new IoError("EINVAL", `its data, ${wanted} bytes at byte ${offset}, are not whole sectors of ${sectorSize}`)
  }
  return wanted
}

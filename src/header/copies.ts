/** Reading both copies of a header, and judging which one counts. */
import { Exit, TresorError } from "../base/errors.ts"
import {
  BINARY_HEADER,
  type Copy,
  checksumHolds,
  HEADER_SIZES,
  notLuks2,
  readBinaryHeader,
} from "../luks2/binary-header.ts"
import { decodeCopy } from "../luks2/header.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import type { Store } from "../store/store.ts"
import { readBytes } from "./bytes.ts"

export interface ValidCopy {
  readonly copy: Copy
  readonly offset: number
  readonly header: LuksHeader
  readonly json: string
  /** Binary header and JSON area. */
  readonly bytes: Uint8Array
}

export type FoundCopy =
  | ValidCopy
  | { readonly copy: Copy; readonly offset: number | null; readonly fault: string; readonly error: TresorError | null }

export interface FoundCopies {
  readonly primary: FoundCopy
  readonly secondary: FoundCopy
  /** The newer of the valid ones. */
  readonly header: LuksHeader
  /** Its JSON area's text. */
  readonly json: string
  /** Copies to be rewritten from `header`. */
  readonly stale: readonly Copy[]
}

async function readCopy(device: Store, copy: Copy, offset: number): Promise<FoundCopy> {
  const fault = (text: string, error: TresorError | null = null): FoundCopy => ({ copy, offset, fault: text, error })
  const size = device.size
  if (offset + BINARY_HEADER > size) return fault("the device ends before it")
  const binary = readBinaryHeader(await readBytes(device, offset, BINARY_HEADER), copy, offset)
  if (typeof binary === "string") return fault(binary)
  if (offset + binary.headerSize > size) return fault("the device ends within it")
  const whole = await readBytes(device, offset, binary.headerSize)
  // Not an error that says more than the fact: there is another copy.
  if (!(await checksumHolds(whole))) return fault("its checksum does not hold")
  try {
    return { copy, offset, bytes: whole, ...(await decodeCopy(whole, copy, offset)) }
  } catch (error) {
    if (!(error instanceof TresorError)) throw error
    return fault(error.message, error)
  }
}

/** The second copy; where it lies is known from the first, or found by its magic. */
async function readSecondary(device: Store, primary: FoundCopy): Promise<FoundCopy> {
  if ("header" in primary) return readCopy(device, "secondary", primary.header.headerSize)
  for (const offset of HEADER_SIZES) {
    const found = await readCopy(device, "secondary", offset)
    if ("header" in found || found.error !== null) return found
  }
  return { copy: "secondary", offset: null, fault: "it was not found", error: null }
}

/** Whether the device has the very bytes of a copy that was read or written before. */
async function isUnchanged(device: Store, copy: FoundCopy): Promise<boolean> {
  if (!("header" in copy) || copy.offset + copy.bytes.length > device.size) return false
  return Buffer.compare(await readBytes(device, copy.offset, copy.bytes.length), copy.bytes) === 0
}

/**
 * Both copies. `known`: as they were; where their bytes are the same, what these say is not worked out again. Throws
 * NOT_LUKS, LUKS1 (exit 4) when there is no trace of LUKS2, LUKS2_BROKEN or LUKS2_INVALID when neither copy is valid.
 */
export async function readCopies(device: Store, known: FoundCopies | null = null): Promise<FoundCopies> {
  if (known !== null) {
    const unchanged = await Promise.all([known.primary, known.secondary].map((copy) => isUnchanged(device, copy)))
    if (unchanged.every((same) => same)) return known
  }
  const primary = await readCopy(device, "primary", 0)
  const secondary = await readSecondary(device, primary)
  const valid = [primary, secondary].filter((found) => "header" in found)
  if (valid.length === 0) throw await whyNone(device, primary, secondary)
  const best = valid.reduce((a, b) => (b.header.sequenceId > a.header.sequenceId ? b : a))
  const current = (found: FoundCopy) =>
    "header" in found && found.header.sequenceId === best.header.sequenceId && found.json === best.json
  const stale = [primary, secondary].filter((found) => !current(found)).map(({ copy }) => copy)
  return { primary, secondary, header: best.header, json: best.json, stale }
}

async function whyNone(device: Store, primary: FoundCopy, secondary: FoundCopy): Promise<TresorError> {
  const size = device.size
  const start = await readBytes(device, 0, Math.min(size, BINARY_HEADER))
  const other = notLuks2(start, device.path)
  if (other !== null && (other.code === "LUKS1" || !("fault" in secondary && secondary.offset !== null))) return other
  for (const found of [primary, secondary]) if ("fault" in found && found.error !== null) return found.error
  const fault = "fault" in primary ? primary.fault : ""
  return new TresorError(
    "LUKS2_BROKEN",
    Exit.wrongDevice,
    `Cannot read the header of ${device.path}: both copies are broken (the first: ${fault}); ` +
      `\`tresor header restore ${device.path} FILE\` restores a backup`,
  )
}

/** One copy of a header, from its bytes (LUKS2 On-Disk Format Specification 1.1, section 2.1). Pure. */
import { Exit, TresorError } from "../base/errors.ts"
import { BINARY_HEADER, type Copy, checksumHolds, jsonText, notLuks2, readBinaryHeader } from "./binary-header.ts"
import type { LuksHeader } from "./metadata.ts"
import { invalid, parseMetadata } from "./parse.ts"
import { Odd } from "./reader.ts"

/** What a copy says, and its JSON area's text. */
export interface DecodedCopy {
  readonly header: LuksHeader
  readonly json: string
}

/**
 * `whole`: a copy, binary header and JSON area, whose binary header could be read. Throws TresorError LUKS2_INVALID
 * (exit 4), LUKS2_BROKEN when its checksum does not hold.
 */
export async function decodeCopy(whole: Uint8Array, copy: Copy, offset: number): Promise<DecodedCopy> {
  const binary = readBinaryHeader(whole, copy, offset)
  if (typeof binary === "string") throw broken(binary)
  if (!(await checksumHolds(whole))) throw broken("its checksum does not hold")
  try {
    const json = jsonText(whole)
    return { header: { ...binary, metadata: parseMetadata(json, binary.headerSize) }, json }
  } catch (error) {
    throw error instanceof Odd ? invalid(error.message) : error
  }
}

/**
 * The header at the beginning of a device or file: its first copy. `bytes`: the first 4 MiB, or as many as the header has.
 * The second copy, and which of the two counts, is header/copies.ts' business. Throws TresorError NOT_LUKS, LUKS1,
 * LUKS2_BROKEN, LUKS2_INVALID (exit 4).
 *
 * @example
 * const { uuid, metadata } = await decodeHeader(bytes)
 */
export async function decodeHeader(bytes: Uint8Array): Promise<LuksHeader> {
  if (bytes.length < BINARY_HEADER) throw broken(`it has ${bytes.length} bytes`)
  const other = notLuks2(bytes.subarray(0, BINARY_HEADER), "these bytes")
  if (other !== null) throw other
  const binary = readBinaryHeader(bytes, "primary", 0)
  if (typeof binary === "string") throw broken(binary)
  if (bytes.length < binary.headerSize) throw broken(`it has ${binary.headerSize} bytes, ${bytes.length} are there`)
  return (await decodeCopy(bytes.subarray(0, binary.headerSize), "primary", 0)).header
}

function broken(fact: string): TresorError {
  return new TresorError("LUKS2_BROKEN", Exit.wrongDevice, `Cannot read the header: ${fact}`)
}

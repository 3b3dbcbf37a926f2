/** Puts the parts of a request into its memory: messages, keyslots, headers, tables. What fields mean is marshal.ts's. */
import * as abi from "../abi/enclave.ts"
import { type Decoded, decode, type Encodable, encode } from "../abi/struct.ts"
import type { Header, KeyslotParameters, MadeKeyslot } from "../luks2/types.ts"
import { addressOf } from "../native/addon.ts"
import {
  digestFields,
  encodeMacs,
  freshKeyslotFields,
  keyslotFields,
  publicHeader,
  SEALED_SIZE,
  segmentFields,
} from "./marshal.ts"
import { type Arena, type Placed, Request } from "./request.ts"
import { contextFields } from "./seal-request.ts"
import { mostLanes } from "./session.ts"
import type { Block, Range, SealedRequest } from "./types.ts"

export const areaSize = (keySize: number): number => Math.ceil((keySize * abi.Limit.stripes) / 512) * 512

/** Bytes that `placeHeader` takes. */
export function headerRoom(header: Header): number {
  return Request.sizeOf(
    header.keyslots.length * abi.keyslot.size,
    ...header.keyslots.flatMap((slot) => [areaSize(slot.keySize), SEALED_SIZE]),
    abi.macs.size,
  )
}

export function placeMessage(request: Arena, sealed: SealedRequest): Encodable<typeof abi.message> {
  const { address } = request.place(sealed.bytes)
  return { address, size: sealed.bytes.length, context: contextFields(sealed.context) }
}

/** Room for a keyslot to be made; what the request says of it, and how to read it back. */
export function placeFresh(request: Arena, keyslot: KeyslotParameters) {
  const area = request.reserve(areaSize(keyslot.keySize))
  const sealed = keyslot.passphraseKdf === null ? null : request.reserve(SEALED_SIZE)
  const fields: Encodable<typeof abi.keyslot> = {
    ...freshKeyslotFields(keyslot),
    area: area.address,
    sealed: sealed?.address ?? 0n,
  }
  const made = (result: { readonly salt: Uint8Array; readonly salt_size: number }): MadeKeyslot => ({
    salt: result.salt.slice(0, result.salt_size),
    area: area.bytes.slice(),
    sealed: sealed?.bytes.slice() ?? null,
  })
  return { fields, made }
}

/** Keyslots and MACs of a header; what the request says of them. */
export function placeHeader(request: Arena, header: Header) {
  const { size } = abi.keyslot
  const keyslots = request.reserve(header.keyslots.length * size)
  const shown = publicHeader(header).keyslots
  header.keyslots.forEach((slot, index) => {
    const fields: Encodable<typeof abi.keyslot> = {
      ...keyslotFields(shown[index]!),
      sealed: slot.sealed === null ? 0n : request.place(slot.sealed).address,
      area: slot.tried ? request.place(slot.area).address : 0n,
    }
    encode(abi.keyslot, fields, keyslots.bytes.subarray(index * size, (index + 1) * size))
  })
  return {
    fields: {
      segment: segmentFields(header.segment),
      digest: digestFields(header.digest),
      keyslots: keyslots.address,
      count: header.keyslots.length,
    },
    macs: header.macs === null ? null : request.place(encodeMacs(header.macs)),
    lanes: mostLanes(header.keyslots.flatMap((slot) => (slot.tried ? [slot.kdf, slot.passphraseKdf] : []))),
  }
}

export const rangesRoom = (count: number): number => Request.sizeOf(count * abi.range.size)

export function placeRanges(request: Arena, ranges: readonly Range[]): Placed {
  const { size } = abi.range
  const table = request.reserve(ranges.length * size)
  ranges.forEach(({ input, output, sector }, index) => {
    const fields = { in: addressOf(input), out: addressOf(output), sector, length: input.length }
    encode(abi.range, fields, table.bytes.subarray(index * size, (index + 1) * size))
  })
  return table
}

export const blocksRoom = (count: number): number => Request.sizeOf(count * abi.block.size)

export function placeBlocks(request: Arena, blocks: readonly Block[]): Placed {
  const { size } = abi.block
  const table = request.reserve(blocks.length * size)
  blocks.forEach((block, index) => {
    const fields = {
      in: addressOf(block.input),
      out: addressOf(block.output),
      length: block.input.length,
      handle: block.handle,
      mode: abi.Mode[block.mode],
      decrypt: block.decrypt ? 1 : 0,
      iv: block.iv,
    }
    encode(abi.block, fields, table.bytes.subarray(index * size, (index + 1) * size))
  })
  return table
}

/** What the enclave left of a block: its running IV and a status. */
export function placedBlock({ bytes }: Placed, index: number): Decoded<typeof abi.block> {
  const { size } = abi.block
  return decode(abi.block, bytes.subarray(index * size, (index + 1) * size))
}

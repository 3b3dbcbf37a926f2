/**
 * The dm-crypt table of a volume, and what is read back from one
 * (kernel: Documentation/admin-guide/device-mapper/dm-crypt.rst).
 */

import { HANDLE_SIZE } from "../abi/kmod.ts"

/** No dash behind the parenthesis: cryptsetup and dm-crypt take what follows one for the IV. */
const CIPHER = "capi:xts(tresor)-plain64"

export interface CryptTable {
  /** Bytes, a multiple of the sector. */
  readonly size: number
  /** Random bytes that name the key to the daemon; no key. */
  readonly handle: Uint8Array
  /** 512-byte units. */
  readonly ivOffset: bigint
  /** A path, or "major:minor" as the kernel shows it. */
  readonly device: string
  /** Bytes. */
  readonly offset: bigint
  readonly sectorSize: number
  readonly discards: boolean
}

export function formatTable(table: CryptTable): string {
  const options = [
    ...(table.discards ? ["allow_discards"] : []),
    ...(table.sectorSize === 512 ? [] : [`sector_size:${table.sectorSize}`]),
  ]
  const key = Buffer.from(table.handle).toString("hex")
  const target = ["crypt", CIPHER, key, table.ivOffset, table.device, table.offset / 512n]
  return [0, table.size / 512, ...target, ...(options.length > 0 ? [options.length, ...options] : [])].join(" ")
}

/** What `dmsetup table --showkeys` says; `null` if the table is of another target. */
export function parseTable(text: string): CryptTable | null {
  const words = text.trim().split(" ")
  const [start, sectors = "", target, cipher, key = "", ivOffset = "", device = "", offset = "", count, ...options] =
    words
  const numbers = [sectors, ivOffset, offset].every((word) => /^\d+$/.test(word))
  if (start !== "0" || target !== "crypt" || cipher !== CIPHER || !numbers) return null
  if (key.length !== 2 * HANDLE_SIZE || !/^[0-9a-f]+$/.test(key) || options.length !== Number(count ?? 0)) return null
  let sectorSize = 512
  let discards = false
  for (const option of options) {
    const size = /^sector_size:(\d+)$/.exec(option)?.[1]
    if (size !== undefined) sectorSize = Number(size)
    else if (option === "allow_discards") discards = true
    else return null
  }
  return {
    size: Number(sectors) * 512,
    handle: Buffer.from(key, "hex"),
    ivOffset: BigInt(ivOffset),
    device,
    offset: BigInt(offset) * 512n,
    sectorSize,
    discards,
  }
}

/** Maps the same bytes in the same way, whatever the handle. */
export function sameTable(a: CryptTable, b: CryptTable): boolean {
  const handle = new Uint8Array(HANDLE_SIZE)
  return formatTable({ ...a, handle }) === formatTable({ ...b, handle })
}

/** Names our mappings: lsblk(8) shows the type crypt; cryptsetup leaves alone what is neither LUKS nor plain. */
export function mappingUuid(volume: string, name: string): string {
  return `CRYPT-TRESOR-${volume.replaceAll("-", "")}-${name}`
}

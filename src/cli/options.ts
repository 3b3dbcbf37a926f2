/** Parses values of the command line: sizes, numbers, slots, names. Pure. */
import { InvalidArgumentError } from "commander"

const UNITS: Readonly<Record<string, bigint>> = {
  "": 1n,
  B: 1n,
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
}
const DECIMAL: Readonly<Record<string, bigint>> = { KB: 1000n, MB: 1000n ** 2n, GB: 1000n ** 3n, TB: 1000n ** 4n }

/** Offsets are JavaScript's safe integers (store.ts), below 2^53. */
const SIZE_LIMIT = 1n << 53n

/**
 * Bytes of "4096", "64K", "1G", "1.5G", "10MiB" (1024-based) or "10MB"
 * (1000-based), as cryptsetup and qemu-img read them. Throws InvalidArgumentError.
 */
export function parseSize(text: string): bigint {
  const match = /^(\d{1,19})(?:\.(\d{1,6}))?([KMGT]?)(iB|B|)$/i.exec(text)
  if (match === null) throw new InvalidArgumentError('Use a size like "64M", "1G" or "1073741824".')
  const [, whole = "", fraction = "", prefix = "", suffix = ""] = match
  const decimal = prefix !== "" && suffix.toUpperCase() === "B"
  const unit = decimal ? DECIMAL[`${prefix.toUpperCase()}B`]! : UNITS[prefix.toUpperCase()]!
  if (fraction !== "" && unit === 1n) throw new InvalidArgumentError("A size is a whole number of bytes.")
  const scale = 10n ** BigInt(fraction.length)
  const size = ((BigInt(whole) * scale + BigInt(fraction === "" ? "0" : fraction)) * unit) / scale
  if (size >= SIZE_LIMIT) throw new InvalidArgumentError("A volume is smaller than 8192T.")
  return size
}

/** An integer from `low` to `high`, as a number. */
export function integer(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d{1,15}$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`Use a number from ${low} to ${high}.`)
    }
    return value
  }
}

export const parseSlot = integer(0, 31)

const pcr = integer(0, 23)

/** PCRs as "7", "0+7" or "0,7", ascending; none of "none". */
export function parsePcrs(text: string): readonly number[] {
  if (text === "none") return []
  return [...new Set(text.split(/[+,]/).map(pcr))].sort((a, b) => a - b)
}

/** 64 hexadecimal digits, in lower case. */
export function parseMeasurement(text: string): string {
  if (!/^[0-9a-f]{64}$/i.test(text)) {
    throw new InvalidArgumentError("Use 64 hexadecimal digits; `tresor status` shows an enclave's MRENCLAVE.")
  }
  return text.toLowerCase()
}

/** One of a few words. */
export function oneOf<T extends string>(...words: readonly T[]): (text: string) => T {
  return (text) => {
    const found = words.find((word) => word === text)
    if (found === undefined) throw new InvalidArgumentError(`Use ${words.slice(0, -1).join(", ")} or ${words.at(-1)}.`)
    return found
  }
}

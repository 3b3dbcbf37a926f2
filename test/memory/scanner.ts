/** Looks for secrets in another process's memory, as root may. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs"

export interface Needle {
  readonly name: string
  readonly bytes: Buffer
}

export interface Scan {
  /** "needle name @ mapping" for every hit. */
  readonly found: readonly string[]
  /** Bytes that could be read. */
  readonly scanned: number
  /** Mappings whose reading was refused. */
  readonly refused: readonly string[]
}

const CHUNK = 4 << 20

/** Every readable mapping of `pid`, whole. */
export function scan(pid: number, needles: readonly Needle[]): Scan {
  const overlap = Math.max(...needles.map((needle) => needle.bytes.length)) - 1
  const buffer = Buffer.alloc(CHUNK + overlap)
  const found = new Set<string>()
  const refused: string[] = []
  let scanned = 0
  const mem = openSync(`/proc/${pid}/mem`, "r")
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").trimEnd().split("\n")) {
      const [, start, end, permissions, name] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)$/.exec(line)!
      if (!permissions!.startsWith("r") || name === "[vvar]" || name === "[vvar_vclock]") continue
      const [from, to] = [Number(`0x${start}`), Number(`0x${end}`)]
      for (let at = from; at < to; at += CHUNK) {
        const length = Math.min(CHUNK + overlap, to - at)
        let got: number
        try {
          got = readSync(mem, buffer, 0, length, at)
        } catch (error) {
          refused.push(`${name === "" ? start : name} (${(error as NodeJS.ErrnoException).code})`)
          break
        }
        scanned += Math.min(got, CHUNK)
        const seen = buffer.subarray(0, got)
        for (const needle of needles) if (seen.includes(needle.bytes)) found.add(`${needle.name} @ ${name || start}`)
      }
    }
  } finally {
    closeSync(mem)
  }
  return { found: [...found], scanned, refused }
}

/** Names of the needles in a file of any size; pages of zeros are looked at only to see that they are. */
export function scanFile(path: string, needles: readonly Needle[]): string[] {
  const overlap = Math.max(...needles.map((needle) => needle.bytes.length)) - 1
  const buffer = Buffer.alloc(CHUNK + overlap)
  const zeros = Buffer.alloc(buffer.length)
  const found = new Set<string>()
  const file = openSync(path, "r")
  try {
    for (let at = 0; ; at += CHUNK) {
      const seen = buffer.subarray(0, readSync(file, buffer, 0, buffer.length, at))
      if (seen.length === 0) return [...found]
      if (seen.equals(zeros.subarray(0, seen.length))) continue
      for (const needle of needles) if (seen.includes(needle.bytes)) found.add(needle.name)
    }
  } finally {
    closeSync(file)
  }
}

const SBOX = makeSbox()

/** FIPS 197, 5.1.1: inverse in GF(2^8), then the affine map. */
function makeSbox(): Uint8Array {
  const multiply = (a: number, b: number): number => {
    let product = 0
    for (let bit = 0; bit < 8; bit++) {
      if ((b >> bit) & 1) product ^= a << bit
    }
    for (let bit = 14; bit >= 8; bit--) if ((product >> bit) & 1) product ^= 0x11b << (bit - 8)
    return product
  }
  const rotate = (x: number, n: number) => ((x << n) | (x >> (8 - n))) & 0xff
  return Uint8Array.from({ length: 256 }, (_, value) => {
    let inverse = 0
    for (let x = 1; x < 256 && value !== 0; x++) if (multiply(value, x) === 1) inverse = x
    return inverse ^ rotate(inverse, 1) ^ rotate(inverse, 2) ^ rotate(inverse, 3) ^ rotate(inverse, 4) ^ 0x63
  })
}

/** FIPS 197, 5.2: the round keys of an AES key of 16 or 32 bytes, 16 bytes each, the key's own left out. */
export function roundKeys(key: Uint8Array): Buffer[] {
  const nk = key.length / 4
  const words = Array.from({ length: nk }, (_, i) => Array.from(key.subarray(4 * i, 4 * i + 4)))
  let rcon = 1
  for (let i = nk; i < 4 * (nk + 7); i++) {
    let word = [...words[i - 1]!]
    if (i % nk === 0) {
      word = [...word.slice(1), word[0]!].map((byte) => SBOX[byte]!)
      word[0]! ^= rcon
      rcon = (rcon << 1) ^ (rcon & 0x80 ? 0x11b : 0)
    } else if (nk > 6 && i % nk === 4) {
      word = word.map((byte) => SBOX[byte]!)
    }
    words.push(word.map((byte, k) => byte ^ words[i - nk]![k]!))
  }
  const rounds: Buffer[] = []
  for (let i = nk; i + 4 <= words.length; i += 4) rounds.push(Buffer.from(words.slice(i, i + 4).flat()))
  return rounds
}

/** Looks for AES key schedules in a memory dump made by QEMU. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs"
import { run } from "./machine.ts"

/** FIPS 197, 5.1.1: the S-box, from inverses in GF(2^8). */
function substitution(): Uint8Array {
  const box = new Uint8Array(256)
  let p = 1
  let q = 1
  do {
    p = (p ^ (p << 1) ^ (p & 0x80 ? 0x11b : 0)) & 0xff
    q ^= q << 1
    q ^= q << 2
    q ^= q << 4
    q &= 0xff
    if (q & 0x80) q ^= 0x09
    const rotate = (n: number) => ((q << n) | (q >> (8 - n))) & 0xff
    box[p] = q ^ rotate(1) ^ rotate(2) ^ rotate(3) ^ rotate(4) ^ 0x63
  } while (p !== 1)
  box[0] = 0x63
  return box
}

/** The first 64 bytes of the expanded key (FIPS 197, 5.2): enough to tell a schedule from a key. */
export function scheduleStart(key: Uint8Array): Buffer {
  const box = substitution()
  const words = key.length / 4
  const bytes = Buffer.alloc(64)
  bytes.set(key)
  let constant = 1
  for (let i = words; i < 16; i++) {
    let last = [...bytes.subarray(i * 4 - 4, i * 4)]
    if (i % words === 0) {
      last = [...last.slice(1), last[0] ?? 0].map((byte) => box[byte] ?? 0)
      last[0] = (last[0] ?? 0) ^ constant
      constant = (constant << 1) ^ (constant & 0x80 ? 0x11b : 0)
    } else if (words > 6 && i % words === 4) {
      last = last.map((byte) => box[byte] ?? 0)
    }
    for (let j = 0; j < 4; j++) bytes[i * 4 + j] = (bytes[(i - words) * 4 + j] ?? 0) ^ (last[j] ?? 0)
  }
  return bytes
}

/** ELF64 program headers: where in the file which physical memory lies. */
function segments(path: string): { offset: number; physical: number; size: number }[] {
  const fd = openSync(path, "r")
  const head = Buffer.alloc(64)
  readSync(fd, head, 0, 64, 0)
  const table = Buffer.alloc(56 * head.readUInt16LE(56))
  readSync(fd, table, 0, table.length, Number(head.readBigUInt64LE(32)))
  closeSync(fd)
  const found = []
  for (let at = 0; at < table.length; at += 56) {
    if (table.readUInt32LE(at) !== 1) continue
    found.push({
      offset: Number(table.readBigUInt64LE(at + 8)),
      physical: Number(table.readBigUInt64LE(at + 24)),
      size: Number(table.readBigUInt64LE(at + 32)),
    })
  }
  return found
}

/** Physical addresses at which a schedule of `key` (16 or 32 bytes) starts. */
export function findSchedule(path: string, key: Uint8Array): number[] {
  const dump = readFileSync(path)
  const wanted = scheduleStart(key)
  const parts = segments(path)
  const found: number[] = []
  for (let at = dump.indexOf(wanted); at >= 0; at = dump.indexOf(wanted, at + 1)) {
    const part = parts.find(({ offset, size }) => at >= offset && at < offset + size)
    if (part !== undefined) found.push(part.physical + at - part.offset)
  }
  return found
}

/** Every AES-256 key of which Debian's aeskeyfind sees a schedule, in hexadecimal. */
export function aeskeyfind(path: string): Set<string> {
  return new Set(
    run("aeskeyfind", ["-q", path])
      .toString()
      .split("\n")
      .filter((line) => line.length === 64),
  )
}

/** `undefined` when all is as it should be, else what is not. */
export function judge(
  path: string,
  control: Uint8Array,
  guarded: Uint8Array,
  allowedPages: ReadonlySet<number>,
): string | undefined {
  const found = aeskeyfind(path)
  const hex = (key: Uint8Array) => Buffer.from(key).toString("hex")
  if (!found.has(hex(control.subarray(0, 32)))) return "aeskeyfind does not find the key of dm-crypt's aes mapping"
  for (const key of [guarded.subarray(0, 32), guarded.subarray(32, 64)]) {
    const places = findSchedule(path, key)
    // It must be somewhere, or the search would prove nothing.
    if (places.length === 0) return "a guarded key's schedule lies nowhere: this is not the memory it is in"
    const outside = places.filter((address) => !allowedPages.has(Math.floor(address / 4096)))
    if (outside.length > 0)
      return `a guarded key's schedule lies at ${outside.map((a) => a.toString(16)).join(" ")}, outside the enclave`
  }
  return undefined
}

/** The sector half of an enclave, played by OpenSSL; for tests only. */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from "node:crypto"
import { fstatSync, readSync, writeSync } from "node:fs"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"
import type { FileSectors } from "../native/addon.ts"

export const HANDLE = 1 as VolumeHandle

/** As OpenSSL takes it; made anew for each sector, it would be most of the work. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>()

function keyObjectOf(key: Uint8Array): KeyObject {
  const made = keyObjects.get(key) ?? createSecretKey(key)
  keyObjects.set(key, made)
  return made
}

/** One call of aes-256-xts-plain64 over whole sectors; `first` in 512-byte units. */
export function xts(key: Uint8Array, decrypt: boolean, sectorSize: number, first: number, input: Uint8Array): Buffer {
  const parts: Buffer[] = []
  const keyObject = keyObjectOf(key)
  for (let at = 0; at < input.length; at += sectorSize) {
    const iv = Buffer.alloc(16)
    iv.writeBigUInt64LE(BigInt(first + at / 512))
    const cipher = (decrypt ? createDecipheriv : createCipheriv)("aes-256-xts", keyObject, iv)
    parts.push(cipher.update(input.subarray(at, at + sectorSize)))
  }
  return Buffer.concat(parts)
}

export class TestEnclave {
  alive = true
  readonly closed: VolumeHandle[] = []
  readonly #key: Uint8Array
  readonly #sectorSize: number

  constructor(key: Uint8Array, sectorSize: number) {
    this.#key = key
    this.#sectorSize = sectorSize
  }

  sectors: Enclave["sectors"] = (_handle, decrypt, ranges) => {
    if (!this.alive) throw new Error("the enclave is lost")
    for (const { input, output, sector } of ranges) {
      output.set(xts(this.#key, decrypt, this.#sectorSize, Number(sector), input))
    }
  }

  /** Rows moved past the store. */
  moved = 0
  /** What becomes of a row instead: an errno, or 0 to move it; "all" for none of them. */
  refuse: () => number | "all" = () => 0

  fileSectors = (_handle: VolumeHandle, fd: number): FileSectors => {
    const pass =
      (decrypt: boolean) =>
      (memory: ArrayBuffer, table: Float64Array, rows: number): number => {
        for (let row = 0; row < rows; row++) {
          const [offset, sector, at, length, from] = table.subarray(6 * row) as unknown as [
            number,
            number,
            number,
            number,
            number,
          ]
          const refused = this.refuse()
          if (refused === "all") return 1
          table[6 * row + 5] = refused
          const place = decrypt ? Buffer.from(memory, at, length) : Buffer.alloc(length)
          if (!decrypt) place.set(xts(this.#key, false, this.#sectorSize, sector, new Uint8Array(memory, from, length)))
          if (refused !== 0) continue
          if (!decrypt && offset + length > fstatSync(fd).size) {
            table[6 * row + 5] = 11
            continue
          }
          this.moved++
          if (!decrypt) writeSync(fd, place, 0, length, offset)
          else if (readSync(fd, place, 0, length, offset) < length) table[6 * row + 5] = 11
          else place.set(xts(this.#key, true, this.#sectorSize, sector, place))
        }
        return 0
      }
    return { read: pass(true), write: pass(false), writing: () => false }
  }

  closeVolume: Enclave["closeVolume"] = (handle) => void this.closed.push(handle)

  get enclave(): Enclave {
    return this as unknown as Enclave
  }
}

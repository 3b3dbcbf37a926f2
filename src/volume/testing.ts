/** The sector half of an enclave, played by OpenSSL; for tests only. */
import { createCipheriv, createDecipheriv } from "node:crypto"
import type { Enclave, VolumeHandle } from "../enclave/types.ts"

export const HANDLE = 1 as VolumeHandle

/** One call of aes-256-xts-plain64 over whole sectors; `first` in 512-byte units. */
export function xts(key: Uint8Array, decrypt: boolean, sectorSize: number, first: number, input: Uint8Array): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < input.length; at += sectorSize) {
    const iv = Buffer.alloc(16)
    iv.writeBigUInt64LE(BigInt(first + at / 512))
    const cipher = (decrypt ? createDecipheriv : createCipheriv)("aes-256-xts", key, iv)
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

  closeVolume: Enclave["closeVolume"] = (handle) => void this.closed.push(handle)

  get enclave(): Enclave {
    return this as unknown as Enclave
  }
}

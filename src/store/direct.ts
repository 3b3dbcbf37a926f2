/** Moves whole blocks past the page cache, over buffers that O_DIRECT accepts. */
import type { FileHandle } from "node:fs/promises"
import { IoError } from "../base/io-error.ts"

/** Fits every device's logical block and every memory alignment a driver asks for. */
export const DIRECT_BLOCK = 4096
const SLICE = 1 << 20
/** Buffers kept for the next request. */
const KEPT = 4

type Native = Pick<typeof import("../native/file.ts"), "alignedBuffer" | "writeInside">

export class DirectFile {
  readonly #handle: FileHandle
  readonly #native: Native
  readonly #free: Uint8Array[] = []

  /** Owns `handle`, opened with O_DIRECT. */
  constructor(handle: FileHandle, native: Native) {
    this.#handle = handle
    this.#native = native
  }

  async #slices(
    length: number,
    move: (buffer: Uint8Array, at: number, length: number) => Promise<void>,
  ): Promise<void> {
    const buffer = this.#free.pop() ?? new Uint8Array(this.#native.alignedBuffer(SLICE))
    try {
      for (let at = 0; at < length; at += SLICE) await move(buffer, at, Math.min(SLICE, length - at))
    } finally {
      if (this.#free.length < KEPT) this.#free.push(buffer)
    }
  }

  /** `offset` and the length are multiples of DIRECT_BLOCK. */
  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#slices(into.length, async (buffer, at, length) => {
      for (let done = 0; done < length; ) {
        const { bytesRead } = await this.#handle.read(buffer, done, length - done, offset + at + done)
        // A part of a block means the end; the next read could not start there.
        if (bytesRead === 0 || bytesRead % DIRECT_BLOCK !== 0) throw new IoError("EIO", "the store ends within a block")
        done += bytesRead
      }
      into.set(buffer.subarray(0, length), at)
    })
  }

  /** `offset` and the length are multiples of DIRECT_BLOCK. */
  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#slices(from.length, async (buffer, at, length) => {
      buffer.set(from.subarray(at, at + length))
      await this.#native.writeInside(this.#handle.fd, buffer.subarray(0, length), offset + at)
    })
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

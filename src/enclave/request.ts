/**
 * The memory of one entry: the request struct and every buffer it points to,
 * in one allocation that does not move, 8-byte aligned as the enclave wants.
 */
import { Status } from "../abi/enclave.ts"
import { type Decoded, decode, type Encodable, encode, type Struct } from "../abi/struct.ts"

/** Host address of a buffer's first byte; the buffer must be kept alive meanwhile. */
export type AddressOf = (bytes: Uint8Array) => bigint

const align = (size: number): number => (size + 7) & ~7

export interface Placed {
  readonly address: bigint
  /** A view of the arena. */
  readonly bytes: Uint8Array
}

/** Where a request's buffers are put. */
export interface Arena {
  /** Zeroed room. Throws RangeError beyond the room asked for. */
  reserve(size: number): Placed
  place(bytes: Uint8Array): Placed
}

// biome-ignore lint/suspicious/noExplicitAny: any struct that begins with the head
type RequestStruct = Struct<any>

export class Request<S extends RequestStruct> implements Arena {
  readonly #struct: S
  readonly #memory: Uint8Array
  readonly #base: bigint
  #used: number

  /** `room`: bytes for everything that will be placed, each rounded up to 8. */
  constructor(struct: S, room: number, addressOf: AddressOf) {
    this.#struct = struct
    this.#used = align(struct.size)
    this.#memory = new Uint8Array(new ArrayBuffer(this.#used + room))
    this.#base = addressOf(this.#memory)
  }

  reserve(size: number): Placed {
    const at = this.#used
    if (at + align(size) > this.#memory.length) throw new RangeError("the request's room is used up")
    this.#used += align(size)
    return { address: this.#base + BigInt(at), bytes: this.#memory.subarray(at, at + size) }
  }

  place(bytes: Uint8Array): Placed {
    const placed = this.reserve(bytes.length)
    placed.bytes.set(bytes)
    return placed
  }

  /** Fills the struct in; returns the bytes to enter with. */
  fill(op: number, fields: Encodable<S>): Uint8Array {
    const struct = this.#memory.subarray(0, this.#struct.size)
    encode(this.#struct, { ...fields, head: { op, size: this.#struct.size, status: Status.request } }, struct)
    return struct
  }

  result(): Decoded<S> {
    return decode(this.#struct, this.#memory) as Decoded<S>
  }

  wipe(): void {
    this.#memory.fill(0)
  }

  static sizeOf(...sizes: readonly number[]): number {
    return sizes.reduce((sum, size) => sum + align(size), 0)
  }
}

/**
 * One client of the soak and its part of the volume. The first part is read and
 * written under watch of a model, byte for byte. In the second, connections are
 * cut in the middle of writes: what a block holds then is one of the things
 * written to it, whole.
 */
import { createHash, randomBytes, randomInt } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { NbdClient } from "../src/nbd/client.ts"

export interface SoakCounters {
  operations: number
  bytes: number
  connects: number
  kills: number
  flushes: number
}

export const WATCHED = 6 << 20
const BLOCK = 4096
const BLOCKS = 256
/** Bytes of the volume that a lane has for itself. */
export const LANE = WATCHED + BLOCKS * BLOCK
const BATCH = 16
const TAG = 8

export class SoakLane {
  readonly #path: string
  readonly #start: number
  readonly #counters: SoakCounters
  readonly #model = Buffer.alloc(WATCHED)
  /** Block -> tags it may hold. */
  readonly #tags = new Map<number, Set<string>>()

  constructor(path: string, start: number, counters: SoakCounters) {
    this.#path = path
    this.#start = start
    this.#counters = counters
  }

  /** Writes all of it once, so that every byte is known. */
  async prepare(): Promise<void> {
    await using client = await this.#connect()
    await client.writeZeroes(this.#start, LANE)
    for (let block = 0; block < BLOCKS; block++) this.#tags.set(block, new Set([Buffer.alloc(TAG).toString("hex")]))
  }

  async #connect(path = this.#path): Promise<NbdClient> {
    this.#counters.connects++
    return await NbdClient.connect(path, { timeoutMs: 60_000 })
  }

  /** Connects and leaves, in good order or by force, until `over`. Rejects at the first byte that is wrong. */
  async run(over: () => boolean): Promise<void> {
    while (!over()) {
      const client = await this.#connect()
      for (let batches = randomInt(1, 40); batches > 0 && !over(); batches--) await this.#batch(client)
      if (randomInt(3) === 0) await this.#kill(client)
      else await client[Symbol.asyncDispose]()
    }
  }

  /** Operations side by side on ranges that do not overlap. */
  async #batch(client: NbdClient): Promise<void> {
    const cuts = Array.from({ length: BATCH }, () => randomInt(WATCHED)).sort((a, b) => a - b)
    const operations: Promise<void>[] = []
    for (const [n, cut] of cuts.entries()) {
      const room = (cuts[n + 1] ?? WATCHED) - cut
      // Mostly small, as filesystems do; sometimes all there is room for.
      const length = Math.min(room, randomInt(4) === 0 ? 1 << 20 : randomInt(1, 16_384))
      if (length > 0) operations.push(this.#operation(client, cut, length))
    }
    if (randomInt(4) === 0) {
      operations.push(client.flush())
      this.#counters.flushes++
    }
    await Promise.all(operations)
  }

  async #operation(client: NbdClient, at: number, length: number): Promise<void> {
    const bytes = this.#model.subarray(at, at + length)
    switch (randomInt(8)) {
      case 0:
        bytes.fill(0)
        await client.writeZeroes(this.#start + at, length)
        break
      case 1:
      case 2:
      case 3:
        randomBytes(length).copy(bytes)
        await client.write(this.#start + at, bytes, { fua: randomInt(16) === 0 })
        break
      default: {
        const found = await client.read(this.#start + at, length)
        if (!found.equals(bytes))
          throw new Error(`${length} bytes at ${this.#start + at} are not what was written there`)
      }
    }
    this.#counters.operations++
    this.#counters.bytes += length
  }

  /** Leaves in the middle of reads and writes. */
  async #kill(client: NbdClient): Promise<void> {
    const pending: Promise<unknown>[] = []
    for (let n = randomInt(1, 40); n > 0; n--) {
      const block = randomInt(BLOCKS)
      const tag = randomBytes(TAG)
      this.#tags.get(block)!.add(tag.toString("hex"))
      const offset = this.#start + WATCHED + block * BLOCK
      pending.push(client.write(offset, Buffer.alloc(BLOCK, tag)), client.read(this.#start, 65_536))
    }
    await sleep(randomInt(5))
    client.destroy()
    await Promise.allSettled(pending)
    this.#counters.kills++
  }

  /** Rejects when the volume does not hold what it should; nothing of an earlier connection may be under way. */
  async verify(path = this.#path): Promise<void> {
    await using client = await this.#connect(path)
    const found = await client.read(this.#start, WATCHED)
    const [is, ought] = [found, this.#model].map((bytes) => createHash("sha256").update(bytes).digest("hex"))
    if (is !== ought) throw new Error(`the part at ${this.#start} has the checksum ${is}, not ${ought}`)
    for (let block = 0; block < BLOCKS; block++) {
      const offset = this.#start + WATCHED + block * BLOCK
      const bytes = await client.read(offset, BLOCK)
      const tag = bytes.subarray(0, TAG)
      if (!bytes.equals(Buffer.alloc(BLOCK, tag)) || !this.#tags.get(block)!.has(tag.toString("hex"))) {
        throw new Error(`the block at ${offset} is none of those written to it`)
      }
      this.#tags.set(block, new Set([tag.toString("hex")]))
    }
  }
}

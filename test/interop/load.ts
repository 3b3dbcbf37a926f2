/** Clients of an open volume that write and read all the time and know what they wrote, and whose server may be killed. */
import assert from "node:assert/strict"
import { randomBytes, randomInt } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { NbdClient } from "../../src/nbd/index.ts"

const UNIT = 16 << 10
const WORKERS = 4

/** Everything that was written, of each unit the last that was acknowledged and what may be on its way. */
export class Load {
  readonly model: Buffer
  readonly #unsure = new Map<number, Buffer>()
  #stop = false
  #errors: Error[] = []
  readonly #ended: Promise<void>[]
  requests = 0

  constructor(model: Buffer, uri: string, discards: boolean) {
    this.model = model
    this.#ended = Array.from({ length: WORKERS }, (_, worker) => this.#work(uri, worker, discards))
  }

  async #work(uri: string, worker: number, discards: boolean): Promise<void> {
    try {
      await using client = await NbdClient.connect(uri)
      while (!this.#stop) {
        const unit = randomInt(this.model.length / UNIT / WORKERS) * WORKERS + worker
        const from = unit * UNIT
        const kind = randomInt(discards ? 9 : 8)
        if (kind < 4) {
          const at = kind === 0 ? randomInt(UNIT - 1) : 0
          const bytes = randomBytes(kind === 0 ? 1 + randomInt(UNIT - at) : UNIT)
          const next = Buffer.from(this.model.subarray(from, from + UNIT))
          bytes.copy(next, at)
          this.#unsure.set(unit, next)
          await client.write(from + at, bytes, { fua: kind === 1 })
          next.copy(this.model, from)
          this.#unsure.delete(unit)
        } else if (kind < 7) {
          const found = await client.read(from, UNIT)
          if (!found.equals(this.model.subarray(from, from + UNIT))) throw new Error(`unit ${unit} is another`)
        } else if (kind === 7) {
          await client.flush()
        } else {
          // What is read after that is undefined until it is written.
          await client.trim(from, UNIT)
          const bytes = randomBytes(UNIT)
          await client.write(from, bytes)
          bytes.copy(this.model, from)
        }
        this.requests++
        await delay(1)
      }
    } catch (error) {
      if (!this.#stop) this.#errors.push(error as Error)
    }
  }

  /** Waits for what is on its way. */
  async stop(): Promise<void> {
    this.#stop = true
    await Promise.all(this.#ended)
    assert.deepEqual(this.#errors, [])
  }

  /** Its server is to be killed: what is on its way may have been done or not. */
  async cut(kill: () => void): Promise<void> {
    this.#stop = true
    kill()
    await Promise.all(this.#ended)
  }

  /** What is there is what was acknowledged; a unit on its way may be either, or some of both. */
  settle(found: Buffer): void {
    assert.equal(found.length, this.model.length)
    for (let at = 0; at < found.length; at += 512) {
      const [now, was] = [found.subarray(at, at + 512), this.model.subarray(at, at + 512)]
      if (now.equals(was)) continue
      const unsure = this.#unsure.get(Math.floor(at / UNIT))?.subarray(at % UNIT, (at % UNIT) + 512)
      assert.ok(unsure?.equals(now), `sector ${at / 512} was acknowledged and is lost`)
    }
    found.copy(this.model)
  }
}

export async function content(uri: string): Promise<Buffer> {
  await using client = await NbdClient.connect(uri)
  const all = Buffer.alloc(client.size)
  for (let at = 0; at < all.length; at += 1 << 20) all.set(await client.read(at, 1 << 20), at)
  return all
}

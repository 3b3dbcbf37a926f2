/** An open volume whose clients are watched while tresords come and go. */
import assert from "node:assert/strict"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ControlClient, connectSocket } from "../../src/control/client.ts"
import { VolumeClient } from "../../src/control/volume-client.ts"
import { NbdClient } from "../../src/nbd/client.ts"
import type { Place } from "../cli/harness.ts"

/** Opened as `work`. */
export async function openWork(place: Place, more: readonly string[] = []): Promise<{ path: string; keyFile: string }> {
  const made = await place.volume(`work-${Math.random().toString(36).slice(2)}.img`)
  const opened = await place.tresor(["open", made.path, "work", "--key-file", made.keyFile, ...more])
  if (opened.code !== 0) throw new Error(opened.stderr)
  return made
}

/** By the command, as an installed version is; silent when all went well. */
export async function upgradeWork(place: Place): Promise<void> {
  const { code, stderr } = await place.tresor(["upgrade", "work"])
  assert.deepEqual([code, stderr], [0, ""])
}

export async function closeWork(place: Place): Promise<void> {
  const { code, stderr } = await place.tresor(["close", "work"])
  assert.equal(code, 0, stderr)
}

export const nbdSocket = (place: Place): string => join(place.runtime, "work/nbd.sock")

/** Runs `use` with the control interface of `work`. */
export async function asked<T>(place: Place, use: (client: VolumeClient) => Promise<T>): Promise<T> {
  const socket = await connectSocket(join(place.runtime, "work/control.sock"), () => {})
  using client = new VolumeClient(new ControlClient(socket), "work")
  return await use(client)
}

/** Has successor.ts take over, as told. */
export const upgradeWith = (place: Place, deed: string, step = "") =>
  asked(place, (client) =>
    client.call("Upgrade", {
      program: [process.execPath, fileURLToPath(new URL("successor.ts", import.meta.url)), deed, step],
    }),
  )

/** A client that writes and reads back all the time, and knows what it wrote. */
export class Load implements AsyncDisposable {
  readonly #client: NbdClient
  readonly #from: number
  readonly #model: Buffer
  #rounds = 0
  #stopped = false
  readonly #work: Promise<void>

  private constructor(client: NbdClient, from: number, length: number) {
    this.#client = client
    this.#from = from
    this.#model = Buffer.alloc(length)
    this.#work = this.#run()
    // `rounds` and the end tell.
    this.#work.catch(() => {})
  }

  /** Over one connection, which it keeps; bytes of the volume that are its own. */
  static async start(socket: string, from: number, length: number): Promise<Load> {
    const client = await NbdClient.connect(socket)
    return new Load(client, from, length)
  }

  async #run(): Promise<void> {
    await this.#client.write(this.#from, this.#model)
    for (let seed = 1; !this.#stopped; seed++) {
      // Small and large, aligned and not, several at once and none over another.
      const lanes = [0, 1, 2, 3].map(async (lane) => {
        const room = this.#model.length / 4
        const length = [512, 4096, 100_001, 262_144][(seed + lane) % 4]!
        const at = lane * room + ((seed * 7919) % (room - length))
        const bytes = Buffer.alloc(length, (seed * 31 + lane) & 0xff)
        bytes.copy(this.#model, at)
        await this.#client.write(this.#from + at, bytes)
        const back = Buffer.from(await this.#client.read(this.#from + at, length))
        if (!back.equals(bytes)) throw new Error(`round ${seed}: ${length} bytes at ${at} are not what was written`)
      })
      await Promise.all(lanes)
      if (seed % 8 === 0) await this.#client.flush()
      this.#rounds++
    }
  }

  /** Resolves when something more was written and read over the same connection; rejects when that failed. */
  async goesOn(): Promise<void> {
    const before = this.#rounds
    let over = false
    const stopped = this.#work.finally(() => {
      over = true
    })
    stopped.catch(() => {})
    while (this.#rounds < before + 2) {
      if (over) return stopped
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  /** Everything that it ever wrote is there; then it leaves. */
  async end(): Promise<void> {
    this.#stopped = true
    await this.#work
    const all = Buffer.from(await this.#client.read(this.#from, this.#model.length))
    if (!all.equals(this.#model)) throw new Error("the volume lacks what was written")
    await this.#client[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    await this.#work.catch(() => {})
    await this.#client[Symbol.asyncDispose]()
  }
}

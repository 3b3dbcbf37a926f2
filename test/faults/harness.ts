/**
 * `tresor open` of a store that fails, by io_uring and by threads, through the page cache and past it; its client;
 * and a model of what was acknowledged.
 */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes, randomInt } from "node:crypto"
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { NbdClient } from "../../src/nbd/client.ts"
import { alive, type Place, type Result, root, run, tresorPath, until } from "../cli/harness.ts"

export const KIB = 1 << 10
export const MIB = 1 << 20

export interface Kind {
  readonly engine: "io_uring" | "threads"
  readonly direct: boolean
}

export const KINDS: readonly Kind[] = (["io_uring", "threads"] as const).flatMap((engine) =>
  [false, true].map((direct) => ({ engine, direct })),
)

export const nameOf = ({ engine, direct }: Kind): string => `${engine}${direct ? ", direct" : ""}`

/** Errors of writes and reads, by the errno that the client is told. */
export const outcome = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "done",
    (error: { code?: string }) => error.code ?? String(error),
  )

export interface Status {
  readonly pid: number
  readonly size: number
  readonly state: string
  readonly disk: { engine: string; underWay: number; stranded: number; failed: string | null } | null
  readonly silentPaths: readonly string[]
}

const NAME = "faulty"

export class Opened {
  readonly place: Place
  readonly name: string
  readonly client: NbdClient

  private constructor(place: Place, name: string, client: NbdClient) {
    this.place = place
    this.name = name
    this.client = client
  }

  /** Where io_uring is not wanted it is refused, as the system-call filters of containers do it. */
  static async open(
    place: Place,
    path: string,
    keyFile: string,
    { engine, direct }: Kind,
    ...more: string[]
  ): Promise<Opened> {
    const words = ["open", path, NAME, "--key-file", keyFile, ...(direct ? ["--direct"] : []), ...more]
    const refusing = [join(root, "test/units/refusing.py"), "io_uring_setup", "EPERM", tresorPath]
    const opened =
      engine === "io_uring"
        ? await place.tresor(words)
        : await run("python3", [...refusing, ...words], { env: place.env })
    assert.equal(opened.code, 0, opened.stderr)
    const volume = new Opened(place, NAME, await NbdClient.connect(join(place.runtime, NAME, "nbd.sock")))
    const { disk } = await volume.status()
    if (disk !== null) assert.equal(disk.engine, engine)
    return volume
  }

  connect(): Promise<NbdClient> {
    return NbdClient.connect(join(this.place.runtime, this.name, "nbd.sock"))
  }

  async status(): Promise<Status> {
    const { code, stdout, stderr } = await this.place.tresor(["status", this.name, "--json"])
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout)
  }

  /** And the process ends. */
  async close(...options: string[]): Promise<Result> {
    const { pid } = this.place.state(this.name)
    // By force it is closed under its client.
    if (!options.includes("--force")) await this.client[Symbol.asyncDispose]()
    const closed = await this.place.tresor(["close", this.name, ...options])
    await until("tresord to end", () => !alive(pid))
    assert.ok(!this.place.names().includes(this.name))
    return closed
  }
}

/** After a test that failed, what is under its volume can be undone. */
export async function letGo(place: Place): Promise<void> {
  if (place.names().includes(NAME)) await place.tresor(["close", NAME, "--force"])
}

/** An NBD server's export as a file, by FUSE. */
export async function withFuse(
  place: Place,
  socket: string,
  body: (path: string, nbdfuse: number) => Promise<void>,
): Promise<void> {
  const directory = place.path("fuse")
  mkdirSync(directory, { recursive: true })
  const disk = join(directory, "disk")
  const nbdfuse = spawn("nbdfuse", [disk, `nbd+unix:///?socket=${socket}`], { stdio: "ignore" })
  const ended = new Promise((resolve) => nbdfuse.once("exit", resolve))
  try {
    await until("nbdfuse to mount", async () => (await run("mountpoint", ["--quiet", directory])).code === 0)
    await body(disk, nbdfuse.pid!)
  } finally {
    await letGo(place)
    await run("umount", ["--lazy", directory])
    nbdfuse.kill("SIGKILL")
    await ended
  }
}

/** Resolves when it has stopped. */
export async function stop(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP")
  await until("it stops", () => /^State:\s*T/m.test(readFileSync(`/proc/${pid}/status`, "latin1")))
}

/** What is clean leaves the page cache. */
export async function uncache(path: string): Promise<void> {
  const done = await run("dd", [`if=${path}`, "of=/dev/null", "status=none", "iflag=nocache", "count=0"])
  assert.equal(done.code, 0, done.stderr)
}

/** A range of the volume for each, and what was acknowledged there: whole sectors, parts, short and long. */
export class Model {
  readonly bytes: Buffer
  readonly #lanes: number

  constructor(size: number, lanes: number) {
    this.bytes = randomBytes(size)
    this.#lanes = lanes
  }

  /** Of one lane's part. */
  range(lane: number): { offset: number; length: number } {
    const part = Math.floor(this.bytes.length / this.#lanes)
    const length = [4 * KIB, 1000, 128 * KIB, 20 * KIB][randomInt(4)]!
    const offset = lane * part + randomInt(0, part - length)
    return { offset: length % (4 * KIB) === 0 ? offset - (offset % (4 * KIB)) : offset, length }
  }

  async fill(client: NbdClient): Promise<void> {
    for (let at = 0; at < this.bytes.length; at += MIB) await client.write(at, this.bytes.subarray(at, at + MIB))
    await client.flush()
  }

  /** Until it is acknowledged; the errors before. */
  async write(client: NbdClient, lane: number, fua = false): Promise<string[]> {
    const { offset, length } = this.range(lane)
    const bytes = randomBytes(length)
    const errors: string[] = []
    for (;;) {
      const said = await outcome(client.write(offset, bytes, { fua }))
      if (said === "done") break
      errors.push(said)
    }
    bytes.copy(this.bytes, offset)
    return errors
  }

  /** What was acknowledged, or an error. */
  async read(client: NbdClient, lane: number): Promise<string[]> {
    const { offset, length } = this.range(lane)
    let read: Buffer
    try {
      read = await client.read(offset, length)
    } catch (error) {
      return [(error as { code: string }).code]
    }
    assert.ok(read.equals(this.bytes.subarray(offset, offset + length)), `${length} bytes at ${offset} differ`)
    return []
  }

  async verify(client: NbdClient): Promise<void> {
    for (let at = 0; at < this.bytes.length; at += MIB) {
      const read = await client.read(at, Math.min(MIB, this.bytes.length - at))
      assert.ok(read.equals(this.bytes.subarray(at, at + read.length)), `the MiB at ${at} differs`)
    }
  }
}

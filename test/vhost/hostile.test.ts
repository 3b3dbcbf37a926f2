/**
 * Front-ends that lie to tresord (test/vhost/hostile), one lie after the other to the same one. After each an honest
 * front-end is served and finds the disk as it was; in the end the daemon has no more descriptors, threads or memory.
 */
import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { alive, Place, run, until } from "../cli/harness.ts"
import { frontend, programOf } from "./programs.ts"
import { type Held, TellingInstallation } from "./telling.ts"

/** Bytes at the end where lies may write. */
const PLAYGROUND = 1 << 20
/** Bytes that a daemon may hold more after hundreds of front-ends: code that was compiled for what the last of them did. */
const GROWTH = 512 << 10
/** Bytes of address space: what V8 and malloc keep of it. Rings that stayed would have 4 MiB each, and threads 8 MiB. */
const MAPPED_GROWTH = 64 << 20
/** Lies that come in hundreds and go nearly everywhere: after them most code is compiled. */
const WARM_UP = ["rings by chance", "messages by chance"]

const place = new Place()
const installation = new TellingInstallation(place.path("installation"))
const lies = (await run(programOf("hostile"), ["--list"])).stdout.trimEnd().split("\n")
let socket: string
let pid: number
let size: number
let content: string
/** Before the lies. */
let first: { readonly usage: Usage; readonly memory: Memory }

interface Usage {
  readonly descriptors: number
  readonly threads: number
  /** Mappings of memory that others may have, as a guest's. */
  readonly shared: number
}

const usage = (): Usage => ({
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
  threads: readdirSync(`/proc/${pid}/task`).length,
  shared: readFileSync(`/proc/${pid}/maps`, "latin1").match(/^\S+ ...s /gm)?.length ?? 0,
})

interface Memory extends Held {
  /** Bytes that only the daemon may write, touched or not. */
  readonly mapped: number
}

async function memory(): Promise<Memory> {
  const held = await installation.held(pid)
  const status = readFileSync(`/proc/${pid}/status`, "latin1")
  return { ...held, mapped: Number(/^VmData:\s+(\d+)/m.exec(status)![1]) * 1024 }
}

/** Of all but the playground. */
async function hash(): Promise<string> {
  const read = await run("sh", [
    "-c",
    `"$0" "$@" | sha256sum`,
    programOf("frontend"),
    socket,
    "read",
    "0",
    String(size - PLAYGROUND),
  ])
  assert.equal(read.code, 0, read.stderr)
  return read.stdout
}

/** Resolves when nothing is left of a front-end that has just gone. */
async function left(atFirst: Usage = first.usage): Promise<void> {
  const gone = (): boolean => {
    const { descriptors, threads, shared } = usage()
    return descriptors <= atFirst.descriptors + 2 && threads <= atFirst.threads + 1 && shared <= atFirst.shared
  }
  await until("the usage of the beginning", gone, 60_000).catch((error: Error) =>
    assert.fail(`${error.message}: ${JSON.stringify([atFirst, usage()])}`),
  )
}

async function lie(which: string, seed: string): Promise<void> {
  const done = await run(programOf("hostile"), [socket, which, seed])
  assert.equal(done.code, 0, `${done.stdout}${done.stderr}`)
  assert.ok(alive(pid))
}

before(async () => {
  const { path, keyFile } = await place.volume("hostile")
  const words = ["open", path, "hostile", "--key-file", keyFile, "--vhost-user", "--allow-discards", "--json"]
  const opened = await run(installation.tresor, words, { env: place.env })
  assert.equal(opened.code, 0, opened.stderr)
  ;({ socket, pid, size } = JSON.parse(opened.stdout))
  const filled = await frontend(socket, ["write", "0"], createHash("shake256", { outputLength: size }).digest())
  assert.equal(filled.code, 0, filled.stderr)
  content = await hash()
  const atFirst = usage()
  for (const each of WARM_UP) await lie(each, "2")
  await left(atFirst)
  first = { usage: atFirst, memory: await memory() }
})

test("there are lies of every kind", () => {
  assert.ok(lies.length > 75, lies.join("\n"))
})

for (const each of lies) {
  test(`a front-end that lies harms nobody: ${each}`, () => lie(each, process.env["TRESOR_SEED"] ?? "1"))
}

test("after all lies the disk is as it was, and mixed requests are served", async () => {
  assert.equal(await hash(), content)
  const done = await frontend(socket, ["--queues=2", "--depth=16", "--count=2000", "mixed"])
  assert.equal(done.code, 0, done.stderr)
})

test("after all lies the daemon has no more descriptors, threads and shared memory", () => left())

test("after all lies the daemon holds no more memory of its own", async () => {
  let now = first.memory
  const same = async (): Promise<boolean> => {
    now = await memory()
    const { objects, blocks, mapped } = first.memory
    return now.objects < objects + GROWTH && now.blocks < blocks + GROWTH && now.mapped < mapped + MAPPED_GROWTH
  }
  await until("the memory of the beginning", same, 60_000).catch((error: Error) =>
    assert.fail(`${error.message}: ${JSON.stringify([first.memory, now])}`),
  )
})

test("the control socket answers, and close ends the daemon", async () => {
  const status = await place.tresor(["status", "hostile", "--json"])
  assert.equal(status.code, 0, status.stderr)
  assert.equal((await place.tresor(["close", "hostile"])).code, 0)
  await until("the daemon has ended", () => !alive(pid))
  assert.equal(readFileSync(join(place.folder, "hostile")).length, size + (16 << 20))
})

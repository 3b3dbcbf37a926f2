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

/** Bytes at the end where lies may write. */
const PLAYGROUND = 1 << 20
/** What a daemon may have grown by after hundreds of front-ends. */
const GROWTH = 48 << 20

const place = new Place()
const lies = (await run(programOf("hostile"), ["--list"])).stdout.trimEnd().split("\n")
let socket: string
let pid: number
let size: number
let content: string
let atFirst: { readonly descriptors: number; readonly threads: number; readonly bytes: number }

const usage = () => ({
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
  threads: readdirSync(`/proc/${pid}/task`).length,
  bytes: Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) * 1024,
})

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

before(async () => {
  const { path, keyFile } = await place.volume("hostile")
  const opened = await place.tresor([
    ...["open", path, "hostile", "--key-file", keyFile, "--vhost-user", "--allow-discards", "--json"],
  ])
  assert.equal(opened.code, 0, opened.stderr)
  ;({ socket, pid, size } = JSON.parse(opened.stdout))
  const filled = await frontend(socket, ["write", "0"], createHash("shake256", { outputLength: size }).digest())
  assert.equal(filled.code, 0, filled.stderr)
  content = await hash()
  atFirst = usage()
})

test("there are lies of every kind", () => {
  assert.ok(lies.length > 75, lies.join("\n"))
})

for (const lie of lies) {
  test(`a front-end that lies harms nobody: ${lie}`, async () => {
    const seed = process.env["TRESOR_SEED"] ?? "1"
    const done = await run(programOf("hostile"), [socket, lie, seed])
    assert.equal(done.code, 0, `${done.stdout}${done.stderr}`)
    assert.ok(alive(pid))
  })
}

test("after all lies the disk is as it was, and mixed requests are served", async () => {
  assert.equal(await hash(), content)
  const done = await frontend(socket, ["--queues=2", "--depth=16", "--count=2000", "mixed"])
  assert.equal(done.code, 0, done.stderr)
})

test("after all lies the daemon has no more descriptors and threads, and hardly more memory", async () => {
  // Of a front-end that has just gone.
  await until(`descriptors and threads of the beginning: ${JSON.stringify([atFirst, usage()])}`, () => {
    const now = usage()
    return now.descriptors <= atFirst.descriptors + 2 && now.threads <= atFirst.threads + 1
  })
  assert.ok(usage().bytes < atFirst.bytes + GROWTH, JSON.stringify([atFirst, usage()]))
})

test("the control socket answers, and close ends the daemon", async () => {
  const status = await place.tresor(["status", "hostile", "--json"])
  assert.equal(status.code, 0, status.stderr)
  assert.equal((await place.tresor(["close", "hostile"])).code, 0)
  await until("the daemon has ended", () => !alive(pid))
  assert.equal(readFileSync(join(place.folder, "hostile")).length, size + (16 << 20))
})

/** A volume as a disk of virtual machines, without one: bench/vhost's front-end is the guest. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { alive, Place, type Result, until } from "../cli/harness.ts"
import { plaintextOf } from "./judge.ts"
import { EndlessLoad, frontend, type Mixed } from "./programs.ts"

const place = new Place()
const { path, keyFile } = await place.volume("work", "correct horse", ["--portable", "--sector-size", "512"])
const socket = join(place.runtime, "work", "vhost.sock")

async function open(...more: readonly string[]): Promise<void> {
  const opened = await place.tresor(["open", path, "work", "--key-file", keyFile, "--vhost-user", ...more])
  assert.equal(opened.code, 0, opened.stderr)
  assert.equal(opened.stdout, `${socket}\n`)
}

async function done(result: Result | Promise<Result>): Promise<string> {
  const { code, stdout, stderr } = await result
  assert.equal(code, 0, stderr)
  return stdout
}

const close = () => done(place.tresor(["close", "work"]))
const status = async () => JSON.parse(await done(place.tresor(["status", "work", "--json"])))

test("the socket is the user's alone, and status names it", async () => {
  await open()
  assert.equal(statSync(socket).mode & 0o777, 0o600)
  assert.equal(existsSync(join(place.runtime, "work", "nbd.sock")), false)
  const { export: how, uri, socket: told } = await status()
  assert.deepEqual([how, uri, told], ["vhost-user", socket, socket])
  assert.match(
    await done(place.tresor(["status", "work"])),
    /^export: +a disk of a virtual machine \(vhost-user-blk\)$/m,
  )
  await close()
  assert.equal(existsSync(socket), false)
})

test("what is written is what cryptsetup and OpenSSL read, and it is read back", async () => {
  await open()
  const bytes = randomBytes(3 << 19)
  await done(frontend(socket, ["write", "1536"], bytes))
  await done(frontend(socket, ["flush"]))
  assert.deepEqual(await plaintextOf(path, keyFile, 1536, bytes.length), bytes)
  await done(frontend(socket, ["zeroes", "2048", "4096"]))
  const zeroed = await plaintextOf(path, keyFile, 1536, 8192)
  assert.deepEqual(zeroed, Buffer.concat([bytes.subarray(0, 512), Buffer.alloc(4096), bytes.subarray(4608, 8192)]))
  assert.deepEqual(Buffer.from(await done(frontend(socket, ["read", "2048", "4096"]))), Buffer.alloc(4096))
  const { counters } = await status()
  assert.ok(counters.writes >= 3 && counters.bytesWritten > bytes.length && counters.flushes === 1, counters)
  await close()
})

test("the serial number is the beginning of the UUID", async () => {
  await open()
  const { uuid } = await status()
  assert.equal(await done(frontend(socket, ["id"])), `${uuid.replaceAll("-", "").slice(0, 20)}\n`)
  await close()
})

for (const options of [[], ["--queues=4", "--regions=3"], ["--indirect", "--no-event-idx"], ["--inflight"]])
  for (const direct of [[], ["--direct"]])
    test(`mixed requests read what was written ${[...direct, ...options].join(" ")}`, async () => {
      await open("--allow-discards", ...direct)
      const mixed = JSON.parse(
        await done(frontend(socket, [...options, "--depth=16", "--count=3000", "mixed"])),
      ) as Mixed
      assert.equal(mixed.reads + mixed.writes + mixed.flushes + mixed.discards + mixed.zeroes, 3000)
      assert.ok(mixed.compared > 1000 && mixed.discards > 0 && mixed.zeroes > 0, JSON.stringify(mixed))
      assert.equal((await status()).counters.errors, 0)
      await close()
    })

const processors = availableParallelism()

/** tresord's threads, but for the kernel's own workers of its rings. */
function threads(pid: number): number {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).filter((task) => !readFileSync(`${tasks}/${task}/comm`, "utf8").startsWith("iou-")).length
}

test("a second thread shares large requests of one queue, and none those of as many queues as processors", {
  skip: processors < 2 && "one processor",
}, async () => {
  await open()
  const pid = Number((await status()).pid)
  const before = threads(pid)
  const one = new EndlessLoad(socket, ["--depth=16"])
  await until("two threads serve the queue", () => threads(pid) === before + 2)
  assert.ok((await one.end()).compared > 0)
  await until("they ended", () => threads(pid) === before)
  const queues = Math.min(processors, 64)
  const all = new EndlessLoad(socket, ["--depth=16", `--queues=${queues}`])
  await until("each queue has its thread", () => threads(pid) === before + queues)
  const { counters } = await status()
  await until("they have done much", async () => (await status()).counters.writes > counters.writes + 2000)
  assert.equal(threads(pid), before + queues)
  await all.end()
  await close()
})

test("requests wait while the volume is locked, and go on after", async () => {
  await open()
  const load = frontend(socket, ["--depth=16", "--count=20000", "mixed"])
  await until("requests come", async () => (await status()).counters.writes > 100)
  await done(place.tresor(["lock", "work"]))
  await until("they wait", async () => (await status()).counters.pending === 16)
  await done(place.tresor(["setkey", "work", "--key-file", keyFile]))
  assert.equal((JSON.parse(await done(load)) as Mixed).reads > 0, true)
  await close()
})

test("requests that find no key in time end in an I/O error", async () => {
  await open("--grace", "0")
  await done(place.tresor(["lock", "work"]))
  await until("the volume failed", async () => (await status()).state === "failed")
  assert.equal((await frontend(socket, ["read", "0", "512"])).code, 3)
  await done(place.tresor(["setkey", "work", "--key-file", keyFile]))
  await done(frontend(socket, ["read", "0", "512"]))
  await close()
})

test("a tresord that is killed under load is opened again, and nothing is lost", async () => {
  await open("--allow-discards")
  const load = frontend(socket, ["--inflight", "--reconnect", "--depth=16", "--count=40000", "mixed"])
  for (let times = 0; times < 3; times++) {
    await until("requests come", async () => (await status()).counters.writes > 500)
    const { pid } = place.state("work")
    process.kill(pid, "SIGKILL")
    await until("it is dead", () => !alive(pid))
    await open("--allow-discards")
  }
  const { reconnects, compared } = JSON.parse(await done(load)) as Mixed
  assert.equal(reconnects, 3)
  assert.ok(compared > 10_000)
  await close()
})

test("a reencryption under load, killed in between: reads agree with what was written to its end", async () => {
  await open("--allow-discards")
  const load = frontend(socket, ["--inflight", "--reconnect", "--depth=16", "--count=40000", "mixed"])
  const reencrypt = (...words: string[]) =>
    place.tresor(["reencrypt", "-q", "--key-file", keyFile, "--hotzone-size", "2M", ...words, "work"])
  const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const first = reencrypt("--throttle", "1", ...cheap)
  await until("it runs", async () => (await status()).reencryption?.done > 0, 60_000)
  const { pid } = place.state("work")
  process.kill(pid, "SIGKILL")
  await until("it is dead", () => !alive(pid))
  assert.notEqual((await first).code, 0)
  await open("--allow-discards")
  assert.equal((await status()).reencryption.state, "paused")
  await done(reencrypt("--resume"))
  const { compared } = JSON.parse(await done(load)) as Mixed
  assert.ok(compared > 10_000)
  const { reencryption, counters } = await status()
  assert.deepEqual([reencryption, counters.errors], [null, 0])
  await close()
})

test("a volume in use is not closed, but by force; a second front-end is turned away", async () => {
  await open()
  const load = frontend(socket, ["--depth=4", "--count=100000", "mixed"])
  await until("requests come", async () => (await status()).counters.writes > 100)
  assert.notEqual((await frontend(socket, ["info"])).code, 0)
  const refused = await place.tresor(["close", "work"])
  assert.equal(refused.code, 5)
  assert.match(
    refused.stderr,
    /still in use by frontend \(process \d+\).*their requests wait until the volume is opened/,
  )
  assert.equal((await status()).counters.refused, 1)
  await done(place.tresor(["close", "work", "--force"]))
  assert.notEqual((await load).code, 0)
})

test("a read-only volume and one without discards say so, and refuse", async () => {
  await open("--readonly")
  assert.equal((await frontend(socket, ["write", "0"], Buffer.alloc(512))).code, 3)
  assert.equal((BigInt(JSON.parse(await done(frontend(socket, ["info"]))).features) >> 5n) & 1n, 1n)
  await close()
  await open()
  assert.equal((await frontend(socket, ["discard", "0", "4096"])).code, 4)
  await close()
})

test("a request outside the volume, or of a part of a sector, is an I/O error", async () => {
  await open()
  const { size } = await status()
  assert.equal((await frontend(socket, ["read", String(size), "512"])).code, 3)
  await done(frontend(socket, ["read", String(size - 512), "512"]))
  await close()
  const big = await place.volume("big", "correct horse", ["--sector-size", "4096"])
  await done(place.tresor(["open", big.path, "big", "--key-file", big.keyFile, "--vhost-user"]))
  const other = join(place.runtime, "big", "vhost.sock")
  assert.equal(JSON.parse(await done(frontend(other, ["info"]))).blockSize, 4096)
  assert.equal((await frontend(other, ["read", "512", "512"])).code, 3)
  await done(frontend(other, ["read", "4096", "8192"]))
  await done(place.tresor(["close", "big"]))
})

test("what cannot be exported so is refused with the way out", async () => {
  const both = await place.tresor(["open", path, "work", "--key-file", keyFile, "--vhost-user", "--kernel"])
  assert.equal(both.code, 1)
  assert.match(both.stderr, /--kernel and --vhost-user exclude each other/)
  const remote = await place.tresor(["open", "nbd://localhost/x", "work", "--key-file", keyFile, "--vhost-user"])
  assert.equal(remote.code, 1)
  assert.match(remote.stderr, /neither a file nor a block device; open it over NBD/)
})

/** What the tests of a power cut go by: replayDurable over a log that QEMU itself has written, and records of durable.c. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { after, test } from "node:test"
import { BLOCK, checkScattered } from "./durable.ts"
import { run } from "./machine.ts"
import { type Cut, entriesOf, replayDurable } from "./power-cut.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-power-"))
after(() => rmSync(folder, { recursive: true, force: true }))
const image = join(folder, "image")
const log = join(folder, "log")
const BYTES = 1 << 20

/** A blank disk after these commands of qemu-io. */
function written(...commands: string[]): void {
  writeFileSync(image, "")
  truncateSync(image, BYTES)
  writeFileSync(log, "")
  const drive = `driver=blklogwrites,file.driver=file,file.filename=${image},log.driver=file,log.filename=${log}`
  run("qemu-io", [...commands.flatMap((command) => ["-c", command]), "--image-opts", `${drive},cache.direct=off`])
}

test("writes before a flush are kept, in their order; discards and zeroes are zeroes", () => {
  written("write -P 1 0 16k", "write -P 2 4k 4k", "discard 8k 4k", "write -z 12k 4k", "flush")
  const replayed = replayDurable(log, image, BYTES)
  assert.ok(replayed.kept >= 4 && replayed.flushes >= 1, JSON.stringify(replayed))
  const disk = readFileSync(image)
  assert.equal(disk.length, BYTES)
  assert.deepEqual(
    [0, 4096, 8192, 12288, 16384].map((at) => new Set(disk.subarray(at, at + 4096))),
    [1, 2, 0, 0, 0].map((byte) => new Set([byte])),
  )
})

test("writes after the last flush are lost", () => {
  // It flushes when it closes the image: the log is cut there, as a power cut would.
  written("write -P 1 0 4k", "flush", "write -P 2 4k 4k")
  const whole = readFileSync(log)
  const flushes = replayDurable(log, image, BYTES).flushes
  const entries = whole.readBigUInt64LE(16)
  whole.writeBigUInt64LE(entries - BigInt(flushes - 1), 16)
  writeFileSync(log, whole)
  const replayed = replayDurable(log, image, BYTES)
  assert.deepEqual(replayed, { kept: 1, lost: 1, flushes: 1 })
  const disk = readFileSync(image)
  assert.deepEqual([disk[0], disk[4095], disk[4096]], [1, 1, 0])
})

test("a cut in the middle of the log, over a disk that was not blank, and what survives without a flush", () => {
  written("write -P 1 0 4k", "flush", "write -P 2 4k 4k", "write -P 3 8k 4k", "flush")
  const before = join(folder, "before")
  writeFileSync(before, Buffer.alloc(BYTES, 9))
  const entries = entriesOf(log)
  const firsts = (cut: Cut) => {
    replayDurable(log, image, BYTES, { before, ...cut })
    const disk = readFileSync(image)
    return [0, 4096, 8192, 12288].map((at) => disk[at])
  }
  assert.deepEqual(firsts({}), [1, 2, 3, 9])
  assert.deepEqual(firsts({ entries: 0 }), [9, 9, 9, 9])
  // Up to the writes after the first flush: they are lost, or one of them is.
  const states = [...Array(entries).keys()].map((n) => firsts({ entries: n + 1 }).join())
  assert.deepEqual([...new Set(states)], ["9,9,9,9", "1,9,9,9", "1,2,3,9"])
  const late = states.lastIndexOf("1,9,9,9") + 1
  assert.deepEqual(firsts({ entries: late, survives: (n) => n === 1 }), [1, 9, 3, 9])
})

test("what is no log is refused", () => {
  writeFileSync(log, Buffer.alloc(4096))
  assert.throws(() => replayDurable(log, image, BYTES), /no log of writes/)
})

test("a log that ends within an entry is refused", () => {
  written("write -P 1 0 64k", "flush")
  truncateSync(log, 8192)
  assert.throws(() => replayDurable(log, image, BYTES), /ends within an entry/)
})

test("each record that durable.c says is durable is found, and one that was lost, swapped or torn is told", async () => {
  const program = join(folder, "durable")
  run("cc", ["-O2", "-o", program, join(import.meta.dirname, "durable.c")])
  const [slots, enough] = [64, 150]
  const before = randomBytes(slots * BLOCK)
  const device = join(folder, "device")
  writeFileSync(device, before)
  const writer = spawn(program, ["write", "drive", device, String(slots), "1", "scattered"])
  let last = -1
  const ended = new Promise((resolve) => writer.once("close", resolve))
  for await (const line of createInterface(writer.stdout)) {
    last = Number(/^durable drive (\d+)$/.exec(line)?.[1])
    if (last >= enough) writer.kill("SIGKILL")
  }
  await ended
  assert.ok(last >= enough)
  const found = readFileSync(device)
  checkScattered(found, before, last)
  // Of records that were not acknowledged nothing is asked, but that they are records.
  checkScattered(found, before, last - 10)
  const place = ((last * 1667) % slots) * BLOCK
  const bad = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(found)
    change(bytes)
    assert.throws(() => checkScattered(bytes, before, last), /is neither as before nor record/)
  }
  bad((bytes) => before.copy(bytes, place, place, place + BLOCK))
  bad((bytes) => found.copy(bytes, place, (place + BLOCK) % found.length, ((place + BLOCK) % found.length) + BLOCK))
  bad((bytes) => bytes.fill(0, place + 512, place + 1024))
})

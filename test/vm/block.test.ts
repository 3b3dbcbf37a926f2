/**
 * A block device without a module of ours, on the kernel that has ublk_drv. At the end the power is cut while writes
 * are made durable; what the drives' caches held is lost, and the next boot looks for what was durable.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import { before, describe, test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { type Boot, boot, buildPrograms, logs, makeOther, type Result, testChecks } from "./checks.ts"
import { checkScattered } from "./durable.ts"
import { laterKernel } from "./kernels.ts"
import type { Disk } from "./machine.ts"
import { entriesOf, type Replayed, replayDurable } from "./power-cut.ts"

const DISK_BYTES = 96 << 20
/** In front of the data of a volume. */
const HEADER = 16 << 20
/** Of test/vm/block.sh. */
const WRITERS = 4
/** Records that each has made durable before the power goes. */
const ENOUGH = 60

const first: Boot = { kernel: laterKernel(), parts: ["block", "stores", "cut"], seconds: 1700 }
const second: Boot = { kernel: first.kernel, parts: ["recut"], seconds: 300 }
const diskOf = (name: string): Disk => ({
  image: join(logs(first), `${name}.img`),
  log: join(logs(first), `${name}.log`),
})
const disks = ["vda", "vdb"].map(diskOf)
/** A volume with a portable passphrase, which this machine opens too. */
const volume = diskOf("vdc")
const place = new Place()
const portable = place.file("portable", "portable")
const original = place.path("original.img")
/** Moments at which the power goes while the volume gets a new key: it is closed, then open and written to. */
const CUTS = { closed: 4, open: 6 }

async function plaintext(path: string): Promise<Buffer> {
  const opened = await place.tresor(["open", path, "cut", "--key-file", portable, "--json"])
  assert.equal(opened.code, 0, opened.stderr)
  try {
    const copy = place.path("plain.img")
    const copied = await run("nbdcopy", [(JSON.parse(opened.stdout) as { readonly uri: string }).uri, copy])
    assert.equal(copied.code, 0, copied.stderr)
    return readFileSync(copy)
  } finally {
    await place.tresor(["close", "cut"])
  }
}

async function makeVolume(): Promise<void> {
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const words = ["create", original, "--size", "40M", "--portable", "--no-recovery", "--key-file", portable, ...kdf]
  const made = await place.tresor(words)
  assert.equal(made.code, 0, made.stderr)
  const { size } = statSync(original)
  // Noise is a plaintext, too.
  const noise = openSync(original, "r+")
  writeSync(noise, randomBytes(size - HEADER), 0, size - HEADER, HEADER)
  closeSync(noise)
  copyFileSync(original, volume.image)
  writeFileSync(volume.log, "")
}

describe(`a block device on Debian's Linux ${first.kernel.release}`, () => {
  let results: Map<string, Result>
  const durable = new Map<string, number>()
  /** What was written to the volume with a new key, and how much its log had when that was said, or before. */
  const acknowledged: { readonly record: number; readonly entries: number }[] = []
  before(async () => {
    buildPrograms()
    await makeOther()
    mkdirSync(logs(first), { recursive: true })
    for (const { image, log } of disks) {
      writeFileSync(image, "")
      truncateSync(image, DISK_BYTES)
      writeFileSync(log, "")
    }
    await makeVolume()
    results = await boot({ ...first, disks: [...disks, volume] }, (line, machine) => {
      const [word, name = "", number] = line.split(" ")
      if (word !== "durable") return
      if (name === "drive") {
        acknowledged.push({ record: Number(number), entries: entriesOf(volume.log) })
        return
      }
      durable.set(name, Number(number))
      if (durable.size === WRITERS && Math.min(...durable.values()) >= ENOUGH) machine.cutPower()
    })
  })
  testChecks(first, () => results)
  test("every writer had made records durable when the power was cut", () => {
    assert.equal(durable.size, WRITERS, [...durable].join(" "))
  })

  /** The last record that was acknowledged when the log had so many entries, by what was said of one later. */
  const acknowledgedAt = (entries: number): number =>
    acknowledged.findLast((_, n) => (acknowledged[n + 1]?.entries ?? Number.POSITIVE_INFINITY) <= entries)?.record ?? -1

  test("a reencryption whose power is cut at any write goes on, and no acknowledged data are lost", async () => {
    const entries = entriesOf(volume.log)
    const before = await plaintext(original)
    const [opened] = acknowledged
    assert.ok(opened !== undefined && acknowledged.length > 50, `${acknowledged.length} records`)
    const cuts = [
      ...Array.from({ length: CUTS.closed }, (_, n) => (opened.entries * (n + 1)) / (CUTS.closed + 1)),
      ...Array.from(
        { length: CUTS.open },
        (_, n) => opened.entries + ((entries - opened.entries) * (n + 1)) / (CUTS.open + 1),
      ),
    ].map(Math.floor)
    let [pending, beside] = [0, 0]
    for (const [n, cut] of cuts.entries()) {
      const path = place.path("cut.img")
      const { flushes } = replayDurable(volume.log, path, statSync(original).size, {
        before: original,
        entries: cut,
        // Nothing, or every other one of what was not flushed.
        survives: (write) => n % 2 === 0 && write % 2 === 0,
      })
      assert.ok(flushes > 0)
      const { code, stderr } = await place.tresor(["reencrypt", "-q", "--resume", "--key-file", portable, path])
      const last = acknowledgedAt(cut)
      if (code === 0) {
        pending++
        if (last >= 0) beside++
      } else assert.match(stderr, /no reencryption is pending/)
      const tested = await run("cryptsetup", ["open", "--test-passphrase", "--key-file", portable, path])
      assert.deepEqual([tested.code, tested.stderr], [0, ""])
      checkScattered(await plaintext(path), before, last)
    }
    assert.ok(pending >= cuts.length / 2, `${pending} of ${cuts.length} were pending`)
    assert.ok(beside >= CUTS.open / 3, `${beside} of ${CUTS.open} were beside acknowledged writes`)
    rmSync(volume.image)
    rmSync(volume.log)
  })

  describe("after the power was cut", () => {
    let replayed: Replayed[]
    let after: Map<string, Result>
    before(async () => {
      replayed = disks.map(({ image, log }) => replayDurable(log, image, DISK_BYTES))
      const said = [...durable].map(([name, number]) => `${name}:${number}`).join(",")
      after = await boot({ ...second, disks, words: `tresor.durable=${said}` })
      for (const { image, log } of disks) {
        rmSync(image)
        rmSync(log)
      }
    })
    // How many writes were lost is chance: power-cut.test.ts shows that those after the last flush are.
    test("each drive is as of its last flush", () => {
      for (const { kept, flushes } of replayed) assert.ok(kept > 0 && flushes >= ENOUGH, JSON.stringify(replayed))
    })
    testChecks(second, () => after)
  })
})

/** Where the bytes of a path lie, by a sysfs of the test's own. Loop devices and partitions of the kernel's: test/store. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { after, test } from "node:test"
import { overlap, placeOf, type System } from "./extent.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-extent-"))
after(() => rmSync(folder, { recursive: true }))
const sys = join(folder, "sys")
const TABLES: Record<string, string> = {}
const system: System = { sys, table: (number) => TABLES[number] ?? "" }

/** A device as sysfs shows it; its node's path. */
function device(name: string, number: string, at: string, attributes: Readonly<Record<string, string>>): string {
  const place = join(sys, "devices", at)
  for (const [key, value] of Object.entries({ dev: number, ...attributes })) {
    mkdirSync(dirname(join(place, key)), { recursive: true })
    writeFileSync(join(place, key), `${value}\n`)
  }
  mkdirSync(join(sys, "dev/block"), { recursive: true })
  symlinkSync(place, join(sys, "dev/block", number))
  const node = join(folder, name)
  const made = spawnSync("mknod", [node, "b", ...number.split(":")], { encoding: "utf8" })
  assert.equal(made.status, 0, made.stderr)
  return node
}

test("partitions, loop devices and dm devices are windows of what they lie on", () => {
  // Nodes of devices are root's to make.
  if (process.getuid!() !== 0) return
  const file = join(folder, "file")
  writeFileSync(file, "")
  const disk = device("sda", "8:0", "sda", {})
  const first = device("sda1", "8:1", "sda/sda1", { partition: "1", start: "2048" })
  const second = device("sda2", "259:300", "sda/sda2", { partition: "2", start: "4096" })
  const loop = device("loop0", "7:0", "loop0", { "loop/backing_file": file, "loop/offset": "1048576" })
  const part = device("loop0p1", "259:3", "loop0/loop0p1", { partition: "1", start: "8" })
  const onPartition = device("loop1", "7:1", "loop1", { "loop/backing_file": second, "loop/offset": "512" })
  const linear = device("dm-0", "254:0", "dm-0", { "dm/uuid": "LVM-x" })
  const crypt = device("dm-1", "254:1", "dm-1", { "dm/uuid": "CRYPT-x" })
  const split = device("dm-2", "254:2", "dm-2", { "dm/uuid": "LVM-y" })
  const unknown = device("dm-3", "254:3", "dm-3", { "dm/uuid": "" })
  TABLES["254:0"] = "0 1000 linear 8:1 2048\n"
  TABLES["254:1"] = "0 900 crypt aes-xts-plain64 :64:logon:key 0 254:0 10 1 allow_discards\n"
  TABLES["254:2"] = "0 500 linear 8:1 0\n500 500 linear 8:1 4000\n"

  const on = (key: string, start: number) => ({ key, start: BigInt(start) })
  const { dev, ino } = statSync(file, { bigint: true })
  const MIB = 1 << 20
  for (const [path, wanted] of [
    [disk, on("device:8:0", 0)],
    [first, on("device:8:0", MIB)],
    [second, on("device:8:0", 2 * MIB)],
    [loop, on(`file:${dev}:${ino}`, MIB)],
    [part, on(`file:${dev}:${ino}`, MIB + 4096)],
    [onPartition, on("device:8:0", 2 * MIB + 512)],
    [linear, on("device:8:0", 2 * MIB)],
    [crypt, on("device:8:0", 2 * MIB + 5120)],
    // In two pieces, or with a table that cannot be had: a place of their own.
    [split, on("device:254:2", 0)],
    [unknown, on("device:254:3", 0)],
    [file, on(`file:${dev}:${ino}`, 0)],
    [join(folder, "missing"), null],
  ] as const) {
    assert.deepEqual(placeOf(path, system), wanted, path)
  }

  const at = (path: string, offset: number, size: number | null) => ({
    path,
    offset: BigInt(offset),
    size: size === null ? null : BigInt(size),
  })
  assert.equal(overlap(at(disk, 0, null), at(second, 0, 16), system), true)
  assert.equal(overlap(at(disk, 0, MIB), at(first, 0, null), system), false)
  assert.equal(overlap(at(disk, 0, MIB + 1), at(first, 0, null), system), true)
  assert.equal(overlap(at(first, 0, MIB), at(second, 0, null), system), false)
  assert.equal(overlap(at(first, 0, null), at(linear, 0, 512), system), true)
  assert.equal(overlap(at(file, 0, MIB), at(part, 0, null), system), false)
  assert.equal(overlap(at(file, 0, 2 * MIB), at(part, 0, null), system), true)
  assert.equal(overlap(at(disk, 0, null), at(loop, 0, null), system), false)
})

test("a device whose loops lead round is no place", () => {
  if (process.getuid!() !== 0) return
  const round = join(folder, "loop9")
  assert.equal(device("loop9", "7:9", "loop9", { "loop/backing_file": round, "loop/offset": "0" }), round)
  assert.equal(placeOf(round, system), null)
})

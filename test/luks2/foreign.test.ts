/**
 * Disks that were LUKS2 once, or are a detached header: nothing of ours writes
 * to them. cryptsetup judges beside us.
 */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { copyFileSync, linkSync, readFileSync, symlinkSync, truncateSync } from "node:fs"
import { after, before, test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { readAt, writeAt } from "./edit-header.ts"

const place = new Place()
let path = ""
let keyFile = ""
let recovery = ""
const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]

before(async () => {
  keyFile = place.file("key", "correct horse")
  recovery = place.path("recovery")
  path = place.path("disk.img")
  await ok("create", path, "--size", "32M", "--key-file", keyFile, "--recovery-key-file", recovery, ...KDF)
})

const loops: string[] = []
after(() => {
  for (const loop of loops.reverse()) spawnSync("losetup", ["-d", loop])
})

async function ok(...args: string[]): Promise<string> {
  const done = await place.tresor(args)
  assert.equal(done.code, 0, `${args.join(" ")}: ${done.stderr}`)
  return done.stdout + done.stderr
}

async function loop(...args: string[]): Promise<string> {
  const done = await run("losetup", ["--show", "-f", ...args])
  assert.equal(done.code, 0, done.stderr)
  loops.push(done.stdout.trim())
  return done.stdout.trim()
}

/** The volume after another program has taken its disk over. */
function takenOver(name: string, write: (disk: string) => void): string {
  const disk = place.path(name)
  copyFileSync(path, disk)
  writeAt(disk, 0, Buffer.alloc(4096))
  write(disk)
  return disk
}

/** CRC-32 with LVM's own beginning and without the last inversion. */
function lvmChecksum(bytes: Uint8Array): number {
  let crc = 0xf597a6cf
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  }
  return crc >>> 0
}

const lvm = Buffer.alloc(512)
lvm.write("LABELONE")
lvm.writeBigUInt64LE(1n, 8)
lvm.writeUInt32LE(32, 20)
lvm.write("LVM2 001", 24)
lvm.writeUInt32LE(lvmChecksum(lvm.subarray(20)), 16)
const md = Buffer.alloc(256)
md.writeUInt32LE(0xa92b4efc)
md.writeUInt32LE(1, 4)
md.writeBigUInt64LE(8n, 144)

function dosLabel(disk: string): void {
  const done = spawnSync("sfdisk", ["-q", disk], { input: "label: dos\nstart=2048, type=83\n", encoding: "utf8" })
  assert.equal(done.status, 0, done.stderr)
}

const cases: readonly (readonly [string, (disk: string) => void])[] = [
  ["a DOS label", dosLabel],
  ["an LVM label", (disk) => writeAt(disk, 512, lvm)],
  ["an md superblock of version 1.2", (disk) => writeAt(disk, 4096, md)],
]

for (const [what, write] of cases) {
  test(`a former LUKS2 disk with ${what}: every command refuses it and writes nothing, as cryptsetup`, async () => {
    const disk = takenOver("taken.img", write)
    const before = readFileSync(disk)
    const theirs = await run("cryptsetup", ["open", "--test-passphrase", disk, "--key-file", recovery])
    const probe = await run("blkid", ["-p", "-n", "nocrypto_LUKS", disk])
    assert.equal(probe.code, 0, "blkid sees it")
    assert.match(theirs.stderr, /ambiguous signatures/)
    const key = ["--key-file", keyFile]
    for (const args of [
      ["open", disk, "never", ...key],
      ["open", disk, "never", "--locked"],
      ["mount", disk, place.folder, ...key],
      ["label", disk, "name"],
      ["uuid", disk, "0d6f0f5e-4b0e-4f4a-9a63-5a2b8d0c6d11"],
      ["key", "add", disk, ...key, "--new-key-file", keyFile],
      ["key", "change", disk, ...key, "--new-key-file", keyFile],
      ["key", "remove", disk, ...key],
      ["adopt", disk, ...key, "--new-key-file", keyFile],
      ["release", disk, ...key],
      ["recover", disk, "--recovery-key-file", recovery, "--check-only"],
      ["header", "authenticate", disk, ...key],
      ["wipe", disk, "--batch-mode"],
      ["dump", disk],
      ["check", disk],
      ["check", disk, "--repair", "--batch-mode"],
    ]) {
      const done = await place.tresor(args)
      assert.equal(done.code, 4, `${args.join(" ")}: ${done.stdout}${done.stderr}`)
      assert.match(done.stdout + done.stderr, /ambiguous signatures/, args.join(" "))
      assert.ok(readFileSync(disk).equals(before), `${args.join(" ")} wrote to it`)
    }
  })
}

test("a broken copy is named and left as it is, whatever is opened, until check --repair is confirmed", async () => {
  const disk = place.path("broken.img")
  copyFileSync(path, disk)
  writeAt(disk, 0, Buffer.alloc(4096))
  const before = readFileSync(disk)
  const unchanged = (what: string) => assert.ok(readFileSync(disk).equals(before), what)
  const wrong = await place.tresor(["open", disk, "b", "--key-file", place.file("wrong", "no")])
  assert.equal(wrong.code, 2)
  unchanged("open with a wrong passphrase")
  await ok("open", disk, "b", "--locked")
  await ok("close", "b")
  unchanged("open --locked")
  assert.match(await ok("key", "list", disk), /first header is broken or old; `tresor check --repair/)
  await ok("recover", disk, "--recovery-key-file", recovery, "--check-only")
  unchanged("recover --check-only")
  for (const args of [
    ["label", disk, "x"],
    ["uuid", disk, "0d6f0f5e-4b0e-4f4a-9a63-5a2b8d0c6d11"],
  ]) {
    const done = await place.tresor(args)
    assert.equal(done.code, 4, done.stderr)
    unchanged(args.join(" "))
  }
  const asked = await place.tresor(["wipe", disk], { input: "no\n" })
  assert.equal(asked.code, 2)
  unchanged("wipe before the answer")
  const declined = await place.tresor(["check", disk, "--repair"], { input: "no\n" })
  assert.equal(declined.code, 2)
  unchanged("check --repair, declined")
  const repaired = await place.tresor(["check", disk, "--repair"], { input: "YES\n" })
  assert.equal(repaired.code, 0, repaired.stderr)
  assert.match(repaired.stdout, /first header was rewritten/)
  assert.equal((await run("cryptsetup", ["luksDump", disk])).code, 0)
})

test("a change that was proved mends a broken copy on its way", async () => {
  const disk = place.path("mended.img")
  copyFileSync(path, disk)
  writeAt(disk, 131072, Buffer.alloc(4096))
  const more = place.file("more", "another passphrase")
  await ok("key", "add", disk, "--key-file", keyFile, "--new-key-file", more, ...KDF)
  await ok("check", disk)
})

/** A detached header and its data, with some of it written. */
async function detached(name: string): Promise<{ readonly header: string; readonly data: string }> {
  const [header, data] = [place.path(`${name}.hdr`), place.path(`${name}.img`)]
  const args = ["create", data, "--size", "32M", "--header", header, "--key-file", keyFile, "--no-recovery", ...KDF]
  await ok(...args)
  return { header, data }
}

test("a detached header is not opened as a volume, whatever it is called", async () => {
  const { header, data } = await detached("detached")
  const before = readFileSync(header)
  const [symbolic, hard] = [place.path("symbolic"), place.path("hard")]
  symlinkSync(header, symbolic)
  linkSync(header, hard)
  const device = await loop(header)
  const again = await loop(device)
  const key = ["--key-file", keyFile]
  const theirs = await run("cryptsetup", ["open", header, "never", "--header", header, ...key])
  assert.notEqual(theirs.code, 0)
  for (const args of [
    ["open", header, "never", ...key],
    ["open", symbolic, "never", ...key],
    ["open", device, "never", ...key],
    ["open", header, "never", "--header", header, ...key],
    ["open", symbolic, "never", "--header", header, ...key],
    ["open", hard, "never", "--header", header, ...key],
    ["open", header, "never", "--header", hard, ...key],
    ["open", device, "never", "--header", header, ...key],
    ["open", header, "never", "--header", device, ...key],
    ["open", again, "never", "--header", header, ...key],
    ["open", hard, "never", "--header", again, "--locked"],
  ]) {
    const done = await place.tresor(args)
    assert.equal(done.code, 4, `${args.join(" ")}: ${done.stdout}${done.stderr}`)
    assert.match(done.stderr, /detached header|overlaps with the data area/, args.join(" "))
    assert.ok(readFileSync(header).equals(before), `${args.join(" ")} wrote to it`)
  }
  await ok("open", data, "right", "--header", header, ...key)
  await ok("close", "right")
  await ok("open", data, "right", "--header", symbolic, ...key)
  await ok("close", "right")
})

test("a header beside its data in one file, apart from it, opens: by loop devices with offsets", async () => {
  const { header, data } = await detached("apart")
  const both = place.file("both.img", readFileSync(header))
  truncateSync(both, 16 << 20)
  writeAt(both, 16 << 20, readFileSync(data))
  const [first, rest] = [await loop(both), await loop("-o", String(16 << 20), both)]
  await ok("open", rest, "apart", "--header", first, "--key-file", keyFile)
  await ok("close", "apart")
  const shifted = await loop("-o", String(8 << 20), both)
  const done = await place.tresor(["open", shifted, "never", "--header", first, "--key-file", keyFile])
  assert.equal(done.code, 4, done.stderr)
  assert.match(done.stderr, /overlaps/)
})

test("create refuses a header that would lie in its own data", async () => {
  const disk = place.file("own.img", new Uint8Array(48 << 20))
  const link = place.path("own.link")
  linkSync(disk, link)
  const key = ["--key-file", keyFile, "--no-recovery", ...KDF]
  for (const header of [disk, link]) {
    const done = await place.tresor(["create", disk, "--header", header, ...key])
    assert.equal(done.code, 4, done.stderr)
    assert.match(done.stderr, /overlaps/)
  }
  const fresh = place.path("fresh.img")
  const done = await place.tresor(["create", fresh, "--size", "48M", "--header", fresh, ...key])
  assert.equal(done.code, 4, done.stderr)
  assert.ok(readAt(disk, 0, 48 << 20).every((byte) => byte === 0))
})

test("a write-protected block device is refused before anything is asked, and opens with --readonly", async () => {
  const copy = place.path("protected.img")
  copyFileSync(path, copy)
  const device = await loop("-r", copy)
  const key = ["--key-file", keyFile]
  const refused = await place.tresor(["open", device, "ro", ...key])
  assert.notEqual(refused.code, 0)
  assert.match(refused.stderr, /write-protected.*--readonly/)
  await ok("open", device, "ro", "--readonly", ...key)
  await ok("close", "ro")
  for (const args of [
    ["key", "add", device, ...key, "--new-key-file", keyFile],
    ["label", device, "x"],
    ["wipe", device],
  ]) {
    const done = await place.tresor(args)
    assert.notEqual(done.code, 0)
    assert.match(done.stderr, /write-protected/, args.join(" "))
    assert.doesNotMatch(done.stderr, /--readonly/, `${args[0]} has no --readonly`)
  }
})

test("create finds a GPT's copy at the end, and with --force erases it", async () => {
  const disk = place.file("gpt.img", "")
  truncateSync(disk, 48 << 20)
  const labelled = spawnSync("sfdisk", ["-q", disk], { input: "label: gpt\n", encoding: "utf8" })
  assert.equal(labelled.status, 0, labelled.stderr)
  writeAt(disk, 0, Buffer.alloc(1 << 20))
  const args = ["create", disk, "--key-file", keyFile, "--no-recovery", ...KDF]
  const refused = await place.tresor(args)
  assert.equal(refused.code, 5, refused.stderr)
  assert.match(refused.stderr, /GPT/)
  await ok(...args, "--force")
  assert.ok(readAt(disk, (48 << 20) - 512, 512).every((byte) => byte === 0))
})

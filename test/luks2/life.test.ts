/**
 * The life of a volume from create to wipe, every step looked at by stock
 * cryptsetup, blkid and OpenSSL.
 */
import assert from "node:assert/strict"
import { createDecipheriv, createHash, randomBytes } from "node:crypto"
import { existsSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { Place, type Result, type RunOptions, run } from "../cli/harness.ts"

const place = new Place()
const NO_KEY = "No key available with this passphrase.\n"
const FAST = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
const MODHEX = /^([cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}$/
const DATA_OFFSET = 16 << 20

async function succeeds(promise: Promise<Result>): Promise<Result> {
  const result = await promise
  assert.equal(result.code, 0, result.stderr + result.stdout)
  return result
}

async function refused(promise: Promise<Result>, code: number, pattern: RegExp): Promise<void> {
  const result = await promise
  assert.equal(result.code, code, result.stderr)
  assert.equal(result.stdout, "")
  assert.match(result.stderr, pattern)
  assert.match(result.stderr, /^[^\n]+\n$/)
}

const tresor = (...args: readonly string[]) => succeeds(place.tresor(args))
const cryptsetup = (args: readonly string[], options?: RunOptions) => run("cryptsetup", args, options)
const digest = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex")
const json = async (path: string) =>
  JSON.parse((await succeeds(cryptsetup(["luksDump", "--dump-json-metadata", path]))).stdout)

/** A volume of cryptsetup's, with noise where its data would be. */
async function theirs(
  name: string,
  ...more: readonly string[]
): Promise<{ readonly path: string; readonly keyFile: string }> {
  const keyFile = place.file(`${name}.key`, "their passphrase")
  const path = place.file(name, "")
  truncateSync(path, 24 << 20)
  await succeeds(cryptsetup(["luksFormat", "-q", "--type", "luks2", ...FAST, ...more, path, keyFile]))
  const data = readFileSync(path)
  randomBytes(1 << 20).copy(data, DATA_OFFSET)
  writeFileSync(path, data)
  return { path, keyFile }
}

const opensWith = async (path: string, keyFile: string, ...more: readonly string[]) =>
  (await cryptsetup(["open", "--test-passphrase", ...more, "--key-file", keyFile, path])).code

/** Opens and closes at once; the exit code. */
async function tresorOpens(path: string, keyFile: string, ...more: readonly string[]): Promise<number> {
  const { code } = await place.tresor(["open", path, "probe", "--key-file", keyFile, ...more])
  if (code === 0) await tresor("close", "probe")
  return code
}

test("created: clean to luksDump and blkid, opened by the recovery key", async () => {
  const keyFile = place.file("new.key", "correct horse")
  const path = place.path("new.img")
  const recovery = place.path("new.recovery")
  const started = Date.now()
  const made = await tresor(
    "create",
    path,
    "--size",
    "40M",
    "--label",
    "my data",
    "--key-file",
    keyFile,
    "--recovery-key-file",
    recovery,
  )
  const took = Date.now() - started
  assert.equal(statSync(path).size, 40 << 20)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.ok(statSync(path).blocks * 512 < 2 << 20, "sparse")
  assert.ok(took < 10_000, `${took} ms`)

  const key = readFileSync(recovery, "latin1")
  assert.match(key, MODHEX)
  assert.equal(statSync(recovery).mode & 0o777, 0o600)
  assert.ok(!made.stdout.includes(key) && !made.stderr.includes(key))

  const dump = await succeeds(cryptsetup(["luksDump", path]))
  assert.equal(dump.stderr, "")
  assert.match(
    dump.stdout,
    /offset: 16777216 \[bytes\]\n\s+length: \(whole device\)\n\s+cipher: aes-xts-plain64\n\s+sector: 4096/,
  )
  assert.match(dump.stdout, /Label:\s+my data/)
  assert.match(dump.stdout, /0: tresor\n.*1: systemd-recovery\n/s)
  const uuid = (await succeeds(cryptsetup(["luksUUID", path]))).stdout.trim()
  const blkid = await succeeds(run("blkid", ["-p", "-o", "export", path]))
  for (const fact of [`UUID=${uuid}`, "TYPE=crypto_LUKS", "VERSION=2", "LABEL=my\\ data"]) {
    assert.ok(blkid.stdout.includes(fact), `${fact} in ${blkid.stdout}`)
  }
  assert.equal(await opensWith(path, recovery), 0)
  assert.equal((await cryptsetup(["open", "--test-passphrase", path], { input: `${key}\n` })).code, 0)
  assert.equal(await opensWith(path, keyFile), 2, "the passphrase is bound to this machine")
  assert.equal(await tresorOpens(path, keyFile), 0)
  assert.equal(await tresorOpens(path, recovery), 0)
})

test("what is written decrypts with the recovery key, stock tools and OpenSSL", async () => {
  for (const [name, keyBits, sector] of [
    ["a.img", 512, 4096],
    ["b.img", 256, 512],
  ] as const) {
    const recovery = place.path(`${name}.recovery`)
    const keyFile = place.file(`${name}.key`, "correct horse")
    const path = place.path(name)
    const size = ["--size", "20M", "--key-size", String(keyBits), "--sector-size", String(sector)]
    await tresor("create", path, ...size, "--key-file", keyFile, "--recovery-key-file", recovery)
    const { stdout } = await tresor("open", path, "work", "--key-file", keyFile)
    const plain = place.file("plain.bin", randomBytes(4 << 20))
    await succeeds(run("nbdcopy", [plain, stdout.trim()]))
    await tresor("close", "work")

    const volumeKey = place.path(`${name}.vk`)
    const dump = ["luksDump", "-q", "--dump-volume-key", "--volume-key-file", volumeKey, "--key-file", recovery, path]
    await succeeds(cryptsetup(dump))
    const key = readFileSync(volumeKey)
    rmSync(volumeKey)
    assert.equal(key.length * 8, keyBits)
    const disk = readFileSync(path)
    const expected = readFileSync(plain)
    for (let at = 0; at < expected.length; at += sector) {
      const iv = Buffer.alloc(16)
      iv.writeBigUInt64LE(BigInt(at / 512))
      const decipher = createDecipheriv(`aes-${keyBits / 2}-xts`, key, iv)
      const sectorBytes = disk.subarray(DATA_OFFSET + at, DATA_OFFSET + at + sector)
      const back = Buffer.concat([decipher.update(sectorBytes), decipher.final()])
      assert.ok(back.equals(expected.subarray(at, at + sector)), `${name}: sector at ${at}`)
    }
  }
})

test("--json prints one object that holds nothing secret", async () => {
  const keyFile = place.file("json.key", "a very secret phrase")
  const path = place.path("json.img")
  const file = ["--recovery-key-file", place.path("json.recovery")]
  const { stdout } = await tresor("create", path, "--size", "20M", "--key-file", keyFile, "--json", ...file, ...FAST)
  const { uuid, ...object } = JSON.parse(stdout)
  assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.deepEqual(object, {
    path,
    label: "",
    size: 20 << 20,
    usable: 4 << 20,
    dataOffset: DATA_OFFSET,
    sectorSize: 4096,
    cipher: "aes-xts-plain64",
    keySize: 512,
    backend: "software",
    keyslot: 0,
    recoveryKeyslot: 1,
  })
  assert.ok(!stdout.includes("secret"))
  assert.ok(!stdout.includes(readFileSync(place.path("json.recovery"), "utf8")))
})

test("without a file the recovery key is shown once, alone on a line", async () => {
  const keyFile = place.file("shown.key", "x")
  const path = place.path("shown.img")
  const { stdout } = await place.typed(["create", path, "--size", "20M", "--key-file", keyFile, ...FAST], [])
  const keys = stdout.split("\n").filter((line) => MODHEX.test(line.trim()))
  assert.equal(keys.length, 1)
  assert.equal((await cryptsetup(["open", "--test-passphrase", path], { input: keys[0]!.trim() })).code, 0)
})

test("a detached header: the data file holds data only, cryptsetup opens it with the header", async () => {
  const keyFile = place.file("detached.key", "apart")
  const [path, header, recovery] = [place.path("detached.img"), place.path("detached.hdr"), place.path("detached.rec")]
  await tresor(
    "create",
    path,
    "--size",
    "8M",
    "--header",
    header,
    "--key-file",
    keyFile,
    "--recovery-key-file",
    recovery,
    ...FAST,
  )
  assert.equal(statSync(path).size, 8 << 20)
  assert.ok(readFileSync(path).every((byte) => byte === 0))
  assert.equal(await opensWith(path, recovery, "--header", header), 0)
  await tresor(
    "key",
    "add",
    path,
    "--header",
    header,
    "--key-file",
    keyFile,
    "--new-key-file",
    place.file("d2.key", "two"),
    "--portable",
    ...FAST,
  )
  assert.equal(await opensWith(path, place.path("d2.key"), "--header", header), 0)
  assert.equal(await tresorOpens(path, keyFile, "--header", header), 0)
})

test("create refuses what it should: one line, cryptsetup's exit code, nothing touched", async () => {
  const keyFile = place.file("refuse.key", "x")
  const create = (...args: string[]) =>
    place.tresor(["create", ...args, "--key-file", keyFile, "--no-recovery", ...FAST])
  const unchanged = async (path: string, args: string[], code: number, pattern: RegExp) => {
    const before = digest(path)
    await refused(create(path, ...args), code, pattern)
    assert.equal(digest(path), before)
  }
  await unchanged(place.file("small.img", new Uint8Array(8 << 20)), [], 4, /small\.img.*17 MiB/)
  await refused(create(place.path("none.img")), 1, /--size/)
  await refused(create(place.path("tiny.img"), "--size", "1M"), 4, /17 MiB/)
  assert.ok(!existsSync(place.path("tiny.img")))
  await refused(create(place.path("odd.img"), "--size", "20971620"), 4, /sector/)
  const data = place.file("data.img", Buffer.alloc(32 << 20, "letters"))
  await unchanged(data, [], 5, /data\.img.*--force/)
  const filesystem = place.file("ext4.img", new Uint8Array(32 << 20))
  await succeeds(run("mkfs.ext4", ["-q", filesystem]))
  await unchanged(filesystem, [], 5, /ext.*--force/)
  await refused(create(place.folder, "--size", "32M"), 4, /directory/)
  await refused(create("/dev/null"), 4, /\/dev\/null/)
  const taken = place.file("taken.rec", "an older key")
  await refused(
    place.tresor(["create", place.path("r.img"), "--size", "32M", "--key-file", keyFile, "--recovery-key-file", taken]),
    5,
    /taken\.rec.*exists/,
  )
  assert.equal(readFileSync(taken, "utf8"), "an older key")
  await refused(create(place.path("u.img"), "--size", "32M", "--uuid", "nonsense"), 1, /UUID/)
  await refused(create(place.path("l.img"), "--size", "32M", "--label", "x".repeat(48)), 1, /label/)
  const empty = place.file("empty.key", "")
  await refused(
    place.tresor(["create", place.path("e.img"), "--size", "32M", "--key-file", empty, "--no-recovery"]),
    1,
    /empty/,
  )

  await succeeds(create(filesystem, "--force"))
  assert.equal(await tresorOpens(filesystem, keyFile), 0)
  await unchanged(filesystem, [], 5, /LUKS.*--force/)
  await tresor("open", filesystem, "busy", "--key-file", keyFile)
  await refused(create(filesystem, "--force"), 5, /open as busy/)
  await tresor("close", "busy")
})

test("a file that is there and blank is used whole", async () => {
  const keyFile = place.file("blank.key", "x")
  const path = place.file("blank.img", new Uint8Array(20 << 20))
  await tresor("create", path, "--key-file", keyFile, "--no-recovery", ...FAST)
  assert.equal(statSync(path).size, 20 << 20)
  assert.equal(await tresorOpens(path, keyFile), 0)
})

test("adopt and release: a volume of cryptsetup's is theirs again, byte for byte but for the header's epoch", async () => {
  const { path, keyFile } = await theirs("adopted.img")
  const before = await json(path)
  const area = (file: string) => readFileSync(file).subarray(32768, 32768 + 258048)
  const slot = Buffer.from(area(path))
  const data = Buffer.from(readFileSync(path).subarray(DATA_OFFSET))
  const mine = place.file("mine.key", "my own")
  const recovery = place.path("adopted.rec")
  await tresor("adopt", path, "--key-file", keyFile, "--new-key-file", mine, "--recovery-key-file", recovery, ...FAST)
  assert.equal(await tresorOpens(path, mine), 0)
  assert.equal(await tresorOpens(path, keyFile), 0)
  assert.equal(await opensWith(path, keyFile), 0)
  assert.equal(await opensWith(path, recovery), 0)
  await refused(place.tresor(["adopt", path, "--key-file", keyFile, "--new-key-file", mine]), 5, /key add/)
  await refused(place.tresor(["release", path, "--key-file", mine]), 2, /No key available/)
  await tresor("release", path, "--key-file", keyFile)
  assert.deepEqual(await json(path), before)
  assert.ok(area(path).equals(slot))
  assert.ok(readFileSync(path).subarray(DATA_OFFSET).equals(data))
  assert.equal(await opensWith(path, recovery), 2)
  assert.equal(await opensWith(path, keyFile), 0)
})

test("another machine: the seal says so, the recovery key sets a passphrase there", async () => {
  const keyFile = place.file("moved.key", "on the old board")
  const [path, recovery] = [place.path("moved.img"), place.path("moved.rec")]
  await tresor("create", path, "--size", "20M", "--key-file", keyFile, "--recovery-key-file", recovery)
  const env = { TRESOR_STATE_DIR: place.path("other-machine") }
  const before = digest(path)
  await refused(
    place.tresor(["key", "add", path, "--key-file", keyFile, "--new-key-file", keyFile], { env }),
    2,
    /keyslot 0.*sealed with the machine secret [0-9a-f]{16} of [^ ]+, which is not in .*tresor recover/,
  )
  assert.equal(digest(path), before, "the seal was left alone")

  // As people type it.
  const typed = readFileSync(recovery, "latin1").toUpperCase().replaceAll("-", " ")
  const check = await succeeds(place.tresor(["recover", path, "--check-only", "--json"], { env, input: `${typed}\n` }))
  const report = JSON.parse(check.stdout)
  assert.deepEqual([report.recoveryKeyslot, report.keyslot], [1, null])
  assert.deepEqual(
    report.keyslots.map((each: { slot: number; kind: string; seal: string }) => [each.slot, each.kind, each.seal]),
    [[0, "tresor", "seal_machine"]],
  )
  assert.equal(digest(path), before)

  const fresh = place.file("fresh.key", "on the new board")
  const recovered = await succeeds(
    place.tresor(["recover", path, "--recovery-key-file", recovery, "--new-key-file", fresh, ...FAST], { env }),
  )
  assert.match(recovered.stdout, /0 +tresor +strong +no: another machine/)
  const opened = await succeeds(place.tresor(["open", path, "moved", "--key-file", fresh], { env }))
  assert.match(opened.stdout, /^nbd/)
  await tresor("close", "moved")
  assert.equal(await tresorOpens(path, keyFile), 0, "the old machine still opens it")
  await refused(place.tresor(["recover", path, "--recovery-key-file", fresh, "--check-only"]), 2, /recovery key/)
  const wrong = place.file("wrong.rec", `${"cbdefghi-".repeat(7)}cbdefghi`)
  const no = await place.tresor(["recover", path, "--recovery-key-file", wrong, "--check-only"])
  assert.deepEqual([no.code, no.stderr], [2, NO_KEY])
})

test("wipe: the UUID is to be typed; nothing opens the volume afterwards", async () => {
  const { path, keyFile } = await place.volume("wiped.img")
  const uuid = (await succeeds(cryptsetup(["luksUUID", path]))).stdout.trim()
  const before = digest(path)
  const no = await place.tresor(["wipe", path], { input: "yes\n" })
  assert.equal(no.code, 2)
  assert.match(no.stderr, new RegExp(uuid))
  assert.equal(digest(path), before)
  await succeeds(place.tresor(["wipe", path], { input: `${uuid.toUpperCase()}\n` }))
  assert.match((await succeeds(cryptsetup(["luksDump", path]))).stdout, /Keyslots:\nTokens:/)
  assert.notEqual(await tresorOpens(path, keyFile), 0)
  const other = await place.volume("batch.img")
  await tresor("wipe", other.path, "--batch-mode")
  assert.notEqual(await tresorOpens(other.path, other.keyFile), 0)
})

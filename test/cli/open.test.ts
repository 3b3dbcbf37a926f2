import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { Place, type Result, run } from "./harness.ts"

const place = new Place()
const NO_KEY = "No key available with this passphrase.\n"
let path = ""
let keyFile = ""

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img"))
})

function oneLine(result: Result, code: number, pattern: RegExp): void {
  assert.equal(result.code, code, result.stderr)
  assert.equal(result.stdout, "")
  assert.match(result.stderr, pattern)
  assert.match(result.stderr, /^tresor: error: [^\n]+\n$/)
}

const digest = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex")

/** Refused with `code`, and not a byte of the file has changed. */
async function untouched(file: string, code: number, pattern: RegExp): Promise<void> {
  const before = digest(file)
  oneLine(await place.tresor(["open", file, "x", "--key-file", keyFile]), code, pattern)
  assert.equal(digest(file), before)
  assert.deepEqual(place.names(), [])
}

test("open prints the URI of a device that serves; close ends it", async () => {
  const opened = await place.tresor(["open", path, "work", "--key-file", keyFile])
  assert.equal(opened.code, 0, opened.stderr)
  assert.equal(opened.stdout, `nbd+unix:///?socket=${place.runtime}/work/nbd.sock\n`)
  const info = await run("nbdinfo", ["--json", opened.stdout.trim()])
  assert.equal(JSON.parse(info.stdout).exports[0]["export-size"], 16 << 20)
  assert.equal(statSync(join(place.runtime, "work")).mode & 0o777, 0o700)
  for (const file of ["nbd.sock", "control.sock", "state.json"]) {
    assert.equal(statSync(join(place.runtime, "work", file)).mode & 0o777, 0o600, file)
  }
  const closed = await place.tresor(["close", "work"])
  assert.deepEqual([closed.code, closed.stdout, closed.stderr], [0, "", ""])
  assert.deepEqual(place.names(), [])
  oneLine(await place.tresor(["close", "work"]), 4, /work.*not open/)
})

test("open --json prints the object of the contract", async () => {
  const opened = await place.tresor(["open", path, "work", "--key-file", keyFile, "--json", "--readonly"])
  const { pid, ...object } = JSON.parse(opened.stdout)
  assert.equal(pid, place.state("work").pid)
  assert.deepEqual(object, {
    name: "work",
    uri: `nbd+unix:///?socket=${place.runtime}/work/nbd.sock`,
    socket: join(place.runtime, "work/nbd.sock"),
    size: 16 << 20,
    sectorSize: 4096,
    cipher: "aes-xts-plain64",
    backend: "software",
    readonly: true,
  })
  const listed = JSON.parse((await place.tresor(["list", "--json"])).stdout)
  assert.deepEqual(listed, [{ ...object, pid, state: "unlocked", reencryption: null, path, user: process.getuid!() }])
  await place.tresor(["close", "work"])
  assert.equal((await place.tresor(["list"])).stdout, "No volumes are open.\n")
})

test("status names backend, memory, and what is and is not protected", async () => {
  await place.tresor(["open", path, "work", "--key-file", keyFile])
  const { stdout } = await place.tresor(["status", "work"])
  assert.match(stdout, /^backend: +software/m)
  assert.match(stdout, /^keys in: +(memfd_secret|locked)/m)
  assert.match(stdout, /^not protected: [\s\S]*\n +passphrases and keys, from the kernel, [^\n]*cold boot/m)
  const status = JSON.parse((await place.tresor(["status", "work", "--json"])).stdout)
  assert.equal(status.state, "unlocked")
  assert.equal(status.backend, "software")
  assert.match(status.enclave.mrenclave, /^[0-9a-f]{64}$/)
  assert.ok(status.protected.length > 0 && status.exposed.length > 0)
  await place.tresor(["close", "work"])
  oneLine(await place.tresor(["status", "work"]), 4, /not open/)
})

test("a wrong passphrase: cryptsetup's words, exit 2, nothing left", async () => {
  const result = await place.tresor(["open", path, "work"], { input: "wrong\n" })
  assert.deepEqual([result.code, result.stdout, result.stderr], [2, "", NO_KEY])
  assert.deepEqual(place.names(), [])
})

test("a name in use exits 5 and names its holder", async () => {
  await place.tresor(["open", path, "work", "--key-file", keyFile])
  const other = await place.volume("other.img")
  oneLine(await place.tresor(["open", other.path, "work", "--key-file", other.keyFile]), 5, /work.*in use.*disk\.img/)
  // The holder has not noticed.
  assert.equal(JSON.parse((await place.tresor(["status", "work", "--json"])).stdout).state, "unlocked")
  await place.tresor(["close", "work"])
})

test("a volume that is open already exits 5 under another name, through a link too", async () => {
  await place.tresor(["open", path, "work", "--key-file", keyFile])
  const link = place.path("link.img")
  symlinkSync(path, link)
  oneLine(await place.tresor(["open", link, "again", "--key-file", keyFile]), 5, /in use|open/)
  await place.tresor(["close", "work"])
})

test("create says what it made, and begins with that when there is no recovery key to show", async () => {
  const made = place.path("plain.img")
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const { code, stdout } = await place.tresor([
    "create",
    made,
    "--size",
    "32M",
    "--key-file",
    keyFile,
    "--no-recovery",
    ...kdf,
  ])
  assert.equal(code, 0)
  assert.match(
    stdout,
    new RegExp(`^${made}: 16 MiB usable of 32 MiB, aes-xts-plain64 [^\\n]+\\nPassphrase in keyslot 0, [^\\n]+\\n$`),
  )
})

test("what is no volume exits 4 with one line, untouched", async () => {
  await untouched(place.file("zeros.img", new Uint8Array(1 << 20)), 4, /LUKS/)
  await untouched(place.file("empty.img", ""), 4, /./)
  await untouched(place.file("short.img", "LUKS\xba\xbe"), 4, /./)
  const truncated = place.file("truncated.img", readFileSync(path).subarray(0, 6000))
  await untouched(truncated, 4, /./)
  const small = place.file("small.img", readFileSync(path))
  truncateSync(small, 8 << 20)
  await untouched(small, 4, /./)
})

test("LUKS1 exits 4 and names the command that converts", async () => {
  const file = place.file("luks1.img", new Uint8Array(8 << 20))
  const made = await run("cryptsetup", [
    "luksFormat",
    "--type",
    "luks1",
    "-q",
    "--pbkdf-force-iterations",
    "1000",
    file,
    keyFile,
  ])
  assert.equal(made.code, 0, made.stderr)
  await untouched(file, 4, /LUKS1.*cryptsetup convert/)
})

test("a cipher we lack exits 4 and is named", async () => {
  const file = place.file("cbc.img", new Uint8Array(32 << 20))
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const made = await run("cryptsetup", [
    "luksFormat",
    "--type",
    "luks2",
    "-q",
    "-c",
    "aes-cbc-essiv:sha256",
    "-s",
    "256",
    ...kdf,
    file,
    keyFile,
  ])
  assert.equal(made.code, 0, made.stderr)
  await untouched(file, 4, /aes-cbc-essiv:sha256/)
})

test("a path that is not there, a directory, a file of another's: exit 4", async () => {
  oneLine(
    await place.tresor(["open", place.path("nowhere.img"), "x", "--key-file", keyFile]),
    4,
    /nowhere\.img.*no such file/,
  )
  oneLine(await place.tresor(["open", place.folder, "x", "--key-file", keyFile]), 4, /directory|regular|block/)
  oneLine(await place.tresor(["open", "/dev/null", "x", "--key-file", keyFile]), 4, /\/dev\/null/)
})

test("a relative path is the caller's, not the daemon's", async () => {
  const opened = await place.tresor(["open", "disk.img", "work", "--key-file", "disk.img.key"], { cwd: place.folder })
  assert.equal(opened.code, 0, opened.stderr)
  assert.equal(JSON.parse((await place.tresor(["status", "work", "--json"])).stdout).path, path)
  await place.tresor(["close", "work"])
})

test("a volume of cryptsetup's opens, keeps what is written, and stays cryptsetup's", async () => {
  const file = place.file("theirs.img", new Uint8Array(32 << 20))
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  assert.equal((await run("cryptsetup", ["luksFormat", "--type", "luks2", "-q", ...kdf, file, keyFile])).code, 0)
  const opened = await place.tresor(["open", file, "theirs", "--key-file", keyFile])
  assert.equal(opened.code, 0, opened.stderr)
  const plain = place.path("plain.bin")
  writeFileSync(plain, Buffer.alloc(16 << 20, "the plaintext of a test "))
  assert.equal((await run("nbdcopy", [plain, opened.stdout.trim()])).code, 0)
  await place.tresor(["close", "theirs"])
  const again = await place.tresor(["open", file, "theirs", "--key-file", keyFile, "--readonly"])
  const back = place.path("back.bin")
  assert.equal((await run("nbdcopy", [again.stdout.trim(), back])).code, 0)
  assert.equal(digest(back), digest(plain))
  await place.tresor(["close", "theirs"])
  assert.ok(!readFileSync(file).includes("the plaintext of a test"))
  assert.equal((await run("cryptsetup", ["open", "--test-passphrase", "--key-file", keyFile, file])).code, 0)
})

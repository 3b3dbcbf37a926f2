import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { before, test } from "node:test"
import { Place, type RunOptions, run, until } from "./harness.ts"

const place = new Place()
const NO_KEY = "No key available with this passphrase."
const secret = "correct horse"
let path = ""

before(async () => {
  ;({ path } = await place.volume("disk.img", secret))
})

/** Exit code of an open with this secret; closes again. */
async function opens(args: readonly string[], options: RunOptions = {}): Promise<number> {
  const { code } = await place.tresor(["open", path, "work", ...args], options)
  if (code === 0) await place.tresor(["close", "work"])
  assert.deepEqual(place.names(), [])
  return code
}

test("standard input without --key-file: up to the newline", async () => {
  assert.equal(await opens([], { input: `${secret}\nmore` }), 0)
  assert.equal(await opens([], { input: secret }), 0)
})

test("--key-file -: whole, newline included", async () => {
  assert.equal(await opens(["--key-file", "-"], { input: secret }), 0)
  assert.equal(await opens(["--key-file", "-"], { input: `${secret}\n` }), 2)
})

test("a key file is read whole, newline included", async () => {
  assert.equal(await opens(["--key-file", place.file("k", secret)]), 0)
  assert.equal(await opens(["--key-file", place.file("k", `${secret}\n`)]), 2)
})

test("--keyfile-offset and --keyfile-size cut the key out", async () => {
  const keyFile = place.file("k", `head${secret}tail`)
  assert.equal(
    await opens(["--key-file", keyFile, "--keyfile-offset", "4", "--keyfile-size", String(secret.length)]),
    0,
  )
  assert.equal(await opens(["--key-file", keyFile, "--keyfile-offset", "4"]), 2)
})

test("--keyfile-size 0 is the whole file, as cryptsetup", async () => {
  const keyFile = place.file("k", secret)
  assert.equal(await opens(["--key-file", keyFile, "--keyfile-size", "0"]), 0)
  const theirs = await run("cryptsetup", [
    "open",
    "--test-passphrase",
    "--keyfile-size",
    "0",
    "--key-file",
    keyFile,
    path,
  ])
  assert.equal(theirs.code, 2, "a Tresor passphrase; cryptsetup has read the file")
})

test("a key file of 8 MiB, the largest there is, creates and opens; one byte more is refused", async () => {
  const keyFile = place.file("large", randomBytes(8 << 20))
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const disk = place.path("large.img")
  const made = await place.tresor(["create", disk, "--size", "32M", "--key-file", keyFile, "--no-recovery", ...kdf])
  assert.equal(made.code, 0, made.stderr)
  const opened = await place.tresor(["open", disk, "large", "--key-file", keyFile])
  assert.equal(opened.code, 0, opened.stderr)
  await place.tresor(["close", "large"])
  const longer = await place.tresor([
    "open",
    disk,
    "large",
    "--key-file",
    place.file("longer", randomBytes((8 << 20) + 1)),
  ])
  assert.equal(longer.code, 1)
  assert.match(longer.stderr, /longer than 8388608 bytes/)
})

test("an empty new passphrase is refused by every command that sets one, and nothing changes", async () => {
  const empty = place.file("empty", "")
  const keyFile = place.file("k", secret)
  const before = readFileSync(path)
  for (const args of [
    ["create", place.path("never.img"), "--size", "32M", "--no-recovery", "--key-file", empty],
    ["key", "add", path, "--key-file", keyFile, "--new-key-file", empty],
    ["key", "add", path, "--key-file", keyFile, "--new-key-file", empty, "--portable"],
    ["key", "change", path, "--key-file", keyFile, "--new-key-file", empty],
  ]) {
    const done = await place.tresor(args)
    assert.equal(done.code, 1, args.join(" "))
    assert.match(done.stderr, /Cannot set an empty passphrase/)
  }
  assert.ok(!existsSync(place.path("never.img")))
  assert.ok(readFileSync(path).equals(before))
})

test("an unused keyslot: exit 1, as cryptsetup", async () => {
  const keyFile = place.file("k", secret)
  const theirs = await run("cryptsetup", ["open", "--test-passphrase", "-S", "7", "--key-file", keyFile, path])
  assert.equal(theirs.code, 1)
  assert.equal(await opens(["--key-slot", "7", "--key-file", keyFile]), 1)
  const removed = await place.tresor(["key", "remove", path, "--key-slot", "7", "--key-file", keyFile])
  assert.equal(removed.code, 1)
})

test("create of a file that no filesystem holds leaves nothing behind", async () => {
  const disk = place.path("huge.img")
  const done = await place.tresor([
    "create",
    disk,
    "--size",
    "8191P",
    "--key-file",
    place.file("k", secret),
    "--no-recovery",
  ])
  assert.notEqual(done.code, 0)
  assert.ok(!existsSync(disk), "an empty file was left")
})

test("a key file shorter than asked for, or missing: exit 1", async () => {
  const short = await place.tresor(["open", path, "work", "--key-file", place.file("k", "abc"), "--keyfile-size", "4"])
  assert.equal(short.code, 1)
  assert.match(short.stderr, /^tresor: error: Cannot read 4 bytes from key file [^\n]+\n$/)
  const missing = await place.tresor(["open", path, "work", "--key-file", place.path("nowhere")])
  assert.equal(missing.code, 1)
  assert.match(missing.stderr, /^tresor: error: Cannot open key file [^\n]+\n$/)
  assert.deepEqual(place.names(), [])
})

test("nothing on standard input: exit 1, as cryptsetup", async () => {
  assert.equal(await opens([], { input: "" }), 1)
})

test("any bytes are a passphrase", async () => {
  const bytes = Buffer.concat([Buffer.from([0, 10, 13, 0xff, 0xc3]), randomBytes(600)])
  const keyFile = place.file("bytes.key", bytes)
  const other = place.path("bytes.img")
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--no-recovery"]
  const made = await place.tresor(["create", other, "--size", "32M", "--key-file", keyFile, ...kdf])
  assert.equal(made.code, 0, made.stderr)
  const opened = await place.tresor(["open", other, "bytes", "--key-file", "-"], { input: bytes })
  assert.equal(opened.code, 0, opened.stderr)
  await place.tresor(["close", "bytes"])
})

test("typed: loses its newline, is not shown, may be tried three times", async () => {
  const right = await place.typed(["open", path, "work"], [["Enter passphrase", `${secret}\r`]])
  assert.equal(right.code, 0, right.stdout)
  assert.ok(!right.stdout.includes(secret))
  assert.match(right.stdout, /Enter passphrase for .*disk\.img: /)
  await place.tresor(["close", "work"])

  const third = await place.typed(
    ["open", path, "work"],
    [
      ["Enter passphrase", "one\r"],
      ["Enter passphrase", "two\r"],
      ["Enter passphrase", `${secret}\r`],
    ],
  )
  assert.equal(third.code, 0, third.stdout)
  assert.equal(third.stdout.split(NO_KEY).length - 1, 2)
  await place.tresor(["close", "work"])
})

test("typed wrong as often as --tries: exit 2, nothing left", async () => {
  const result = await place.typed(
    ["open", path, "work", "--tries", "2"],
    [
      ["Enter passphrase", "one\r"],
      ["Enter passphrase", "two\r"],
    ],
  )
  assert.equal(result.code, 2)
  assert.equal(result.stdout.split(NO_KEY).length - 1, 2)
  assert.deepEqual(place.names(), [])
})

test("backspace takes a letter back, a letter of several bytes too", async () => {
  const result = await place.typed(["open", path, "work"], [["Enter passphrase", `${secret}ü\x7fx\x7f\r`]])
  assert.equal(result.code, 0, result.stdout)
  await place.tresor(["close", "work"])
})

test("Ctrl-C at the prompt leaves nothing behind", async () => {
  const result = await place.typed(["open", path, "work"], [["Enter passphrase", "^C"]])
  assert.notEqual(result.code, 0)
  await until("the daemon is gone", () => place.names().length === 0)
})

test("--timeout ends the wait", async () => {
  const started = Date.now()
  const result = await place.typed(["open", path, "work", "--timeout", "1"], [])
  assert.equal(result.code, 1)
  assert.ok(Date.now() - started < 10_000)
  assert.match(result.stdout, /tim/i)
})

test("create asks twice; two that differ make nothing and exit 2", async () => {
  const other = place.path("typed.img")
  const args = [
    "create",
    other,
    "--size",
    "32M",
    "--no-recovery",
    "--pbkdf",
    "pbkdf2",
    "--pbkdf-force-iterations",
    "1000",
  ]
  const differ = await place.typed(args, [
    ["Enter passphrase", "one\r"],
    ["Verify", "two\r"],
  ])
  assert.equal(differ.code, 2, differ.stdout)
  assert.match(differ.stdout, /do not match/)
  assert.equal(existsSync(other), false)
  const same = await place.typed(args, [
    ["Enter passphrase", "one two\r"],
    ["Verify", "one two\r"],
  ])
  assert.equal(same.code, 0, same.stdout)
  const opened = await place.tresor(["open", other, "typed"], { input: "one two\n" })
  assert.equal(opened.code, 0, opened.stderr)
  await place.tresor(["close", "typed"])
})

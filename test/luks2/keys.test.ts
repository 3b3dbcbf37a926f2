/** `tresor key` against stock cryptsetup. */
import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { readFileSync, truncateSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { Place, type Result, run } from "../cli/harness.ts"

const place = new Place()
const NO_KEY = "No key available with this passphrase.\n"
const FAST = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]

async function succeeds(promise: Promise<Result>): Promise<Result> {
  const result = await promise
  assert.equal(result.code, 0, result.stderr + result.stdout)
  return result
}
const tresor = (...args: readonly string[]) => succeeds(place.tresor(args))
const cryptsetup = (...args: readonly string[]) => run("cryptsetup", args)
const opensWith = async (path: string, keyFile: string, ...more: string[]) =>
  (await cryptsetup("open", "--test-passphrase", ...more, "--key-file", keyFile, path)).code
const digest = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex")

async function tresorOpens(path: string, keyFile: string, ...more: readonly string[]): Promise<number> {
  const { code } = await place.tresor(["open", path, "probe", "--key-file", keyFile, ...more])
  if (code === 0) await tresor("close", "probe")
  return code
}

async function refused(args: readonly string[], path: string, code: number, pattern: RegExp): Promise<void> {
  const before = digest(path)
  const result = await place.tresor(args)
  assert.equal(result.code, code, result.stderr)
  assert.match(result.stderr, pattern)
  assert.match(result.stderr, /^[^\n]+\n$/)
  assert.equal(digest(path), before, "untouched")
}

const slots = async (path: string) =>
  Object.keys(JSON.parse((await succeeds(cryptsetup("luksDump", "--dump-json-metadata", path))).stdout).keyslots)

test("add: a sealed one opens here only, a portable one in cryptsetup too", async () => {
  const { path, keyFile } = await place.volume("add.img")
  const [sealed, portable] = [
    place.file("sealed.key", "sealed\nwith newline\n"),
    place.file("portable.key", "portable\0\xff"),
  ]
  const first = await tresor("key", "add", path, "--key-file", keyFile, "--new-key-file", sealed)
  assert.match(first.stdout, /Keyslot 1 added/)
  const args = [
    "key",
    "add",
    path,
    "--key-file",
    keyFile,
    "--new-key-file",
    portable,
    "--new-key-slot",
    "9",
    "--portable",
  ]
  await tresor(...args, "--pbkdf-memory", "65536", "--pbkdf-force-iterations", "4")
  assert.deepEqual(await slots(path), ["0", "1", "9"])
  assert.equal(await opensWith(path, portable), 0)
  assert.equal(await opensWith(path, sealed), 2)
  assert.equal(await tresorOpens(path, sealed), 0)
  assert.equal(await tresorOpens(path, portable, "--key-slot", "9"), 0)
  assert.equal(await tresorOpens(path, portable, "--key-slot", "1"), 2)
  await refused([...args], path, 1, /Keyslot 9 is in use/)
})

test("a portable keyslot is calibrated to about two seconds on this machine", async () => {
  const { path, keyFile } = await place.volume("calibrated.img")
  const portable = place.file("slow.key", "slow")
  await tresor(
    "key",
    "add",
    path,
    "--key-file",
    keyFile,
    "--new-key-file",
    portable,
    "--portable",
    "--iter-time",
    "500",
  )
  const { keyslots } = JSON.parse((await succeeds(cryptsetup("luksDump", "--dump-json-metadata", path))).stdout)
  const { kdf } = keyslots["1"]
  assert.equal(kdf.type, "argon2id")
  assert.ok(kdf.time >= 4 && kdf.memory >= 32 << 10, JSON.stringify(kdf))
  assert.equal(await opensWith(path, portable), 0)
  await refused(
    [
      "key",
      "add",
      path,
      "--key-file",
      keyFile,
      "--new-key-file",
      portable,
      "--portable",
      "--pbkdf-force-iterations",
      "3",
    ],
    path,
    1,
    /minimum is 4/,
  )
})

test("change: the old passphrase opens nothing any more, in a sealed and in a portable slot", async () => {
  for (const more of [[], ["--portable"]]) {
    const { path, keyFile } = await place.volume(`change${more.length}.img`, "old", more)
    const fresh = place.file("new.key", "new")
    await tresor("key", "change", path, "--key-file", keyFile, "--new-key-file", fresh, ...FAST, ...more)
    assert.equal(await tresorOpens(path, fresh), 0)
    assert.equal(await tresorOpens(path, keyFile), 2)
    assert.deepEqual(await slots(path), ["1"])
    if (more.length > 0) assert.equal(await opensWith(path, fresh), 0)
  }
})

test("remove: by passphrase, by number, the last one by force", async () => {
  const { path, keyFile } = await place.volume("remove.img")
  const second = place.file("second.key", "second")
  await tresor("key", "add", path, "--key-file", keyFile, "--new-key-file", second, "--portable", ...FAST)
  const third = place.file("third.key", "third")
  await tresor("key", "add", path, "--key-file", second, "--new-key-file", third, "--portable", ...FAST)
  assert.match((await tresor("key", "remove", path, "--key-file", second)).stdout, /Keyslot 1 destroyed/)
  assert.equal(await opensWith(path, second), 2)
  await refused(["key", "remove", path, "--key-slot", "1", "--key-file", keyFile], path, 1, /Keyslot 1 is not active/)
  const bound = await tresor("key", "remove", path, "--key-slot", "2", "--key-file", keyFile)
  assert.match(bound.stderr, /Warning: every keyslot left is sealed to this machine/)
  await refused(["key", "remove", path, "--key-file", keyFile], path, 1, /Keyslot 0 is the last.*lost.*--force/)
  await tresor("key", "remove", path, "--key-file", keyFile, "--force")
  assert.deepEqual(await slots(path), [])
})

test("a removed keyslot's key material is gone from the disk", async () => {
  const { path, keyFile } = await place.volume("gone.img")
  const second = place.file("gone2.key", "second")
  await tresor("key", "add", path, "--key-file", keyFile, "--new-key-file", second, "--portable", ...FAST)
  const { keyslots } = JSON.parse((await succeeds(cryptsetup("luksDump", "--dump-json-metadata", path))).stdout)
  const { offset, size } = keyslots["1"].area
  const area = () => readFileSync(path).subarray(Number(offset), Number(offset) + Number(size))
  const before = Buffer.from(area())
  await tresor("key", "remove", path, "--key-file", second)
  const after = Buffer.from(area())
  for (let at = 0; at < 256_000; at += 512) {
    assert.ok(!after.subarray(at, at + 512).equals(before.subarray(at, at + 512)), `sector at ${at}`)
  }
})

test("a wrong passphrase: cryptsetup's words, exit 2, nothing written", async () => {
  const { path } = await place.volume("wrong.img")
  const wrong = place.file("wrong.key", "wrong")
  for (const args of [
    ["key", "add", path, "--key-file", wrong, "--new-key-file", wrong],
    ["key", "change", path, "--key-file", wrong, "--new-key-file", wrong],
    ["key", "remove", path, "--key-file", wrong, "--force"],
    ["key", "remove", path, "--key-slot", "0", "--key-file", wrong, "--force"],
  ]) {
    const before = digest(path)
    const result = await place.tresor(args)
    assert.deepEqual([result.code, result.stdout, result.stderr], [2, "", NO_KEY], args.join(" "))
    assert.equal(digest(path), before)
  }
})

test("what is no volume of ours: exit 4, one line, untouched", async () => {
  const { path: whole, keyFile } = await place.volume("whole.img")
  const add = (path: string) => ["key", "add", path, "--key-file", keyFile, "--new-key-file", keyFile]
  const luks1 = place.file("luks1.img", new Uint8Array(8 << 20))
  await succeeds(cryptsetup("luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", luks1, keyFile))
  await refused(add(luks1), luks1, 4, /LUKS1.*cryptsetup convert/)
  const zeros = place.file("zeros.img", new Uint8Array(1 << 20))
  await refused(add(zeros), zeros, 4, /LUKS/)
  const truncated = place.file("truncated.img", readFileSync(whole).subarray(0, 200_000))
  await refused(add(truncated), truncated, 4, /./)
  const cbc = place.file("cbc.img", "")
  truncateSync(cbc, 24 << 20)
  const cipher = ["-c", "aes-cbc-essiv:sha256", "-s", "256"]
  await succeeds(cryptsetup("luksFormat", "-q", "--type", "luks2", ...cipher, ...FAST, cbc, keyFile))
  await refused(add(cbc), cbc, 4, /aes-cbc-essiv:sha256/)
  await refused(add(place.folder), whole, 4, /./)
})

test("keyslots and tokens of other programs are left alone", async () => {
  const { path, keyFile } = await place.volume("foreign.img", "mine", ["--portable"])
  const other = place.file("other.key", "other")
  await succeeds(cryptsetup("luksAddKey", "-q", ...FAST, "--key-file", keyFile, path, other))
  const token = {
    type: "systemd-tpm2",
    keyslots: ["1"],
    "tpm2-blob": "AA==",
    "tpm2-pcrs": [7],
    "tpm2-policy-hash": "00",
    x: 1.5,
  }
  writeFileSync(place.path("token.json"), JSON.stringify(token))
  await succeeds(cryptsetup("token", "import", "--token-id", "4", "--json-file", place.path("token.json"), path))
  await tresor("key", "add", path, "--key-file", keyFile, "--new-key-file", place.file("f.key", "third"))
  await tresor("key", "change", path, "--key-file", keyFile, "--new-key-file", place.file("g.key", "fourth"), ...FAST)
  const { tokens, keyslots } = JSON.parse((await succeeds(cryptsetup("luksDump", "--dump-json-metadata", path))).stdout)
  assert.deepEqual(tokens["4"], token)
  assert.deepEqual(Object.keys(keyslots), ["1", "2", "3"])
  assert.equal(await opensWith(path, other), 0)
})

test("all 32 keyslots: the last opens, one more is refused", async () => {
  const { path, keyFile } = await place.volume("full.img", "first", ["--portable"])
  let last = ""
  for (let slot = 1; slot < 32; slot++) {
    last = place.file(`${slot}.key`, `passphrase ${slot}`)
    // cryptsetup is quicker to start; every fourth is ours.
    if (slot % 4 === 3)
      await tresor("key", "add", path, "--key-file", keyFile, "--key-slot", "0", "--new-key-file", last, ...FAST)
    else await succeeds(cryptsetup("luksAddKey", "-q", ...FAST, "--key-file", keyFile, path, last))
  }
  assert.equal((await slots(path)).length, 32)
  assert.equal(await tresorOpens(path, last), 0)
  await refused(
    ["key", "add", path, "--key-file", keyFile, "--new-key-file", keyFile],
    path,
    1,
    /All 32 keyslots are in use/,
  )
})

test("typed: the existing passphrase is asked for again before the new one is thought of", async () => {
  const { path } = await place.volume("typed.img", "right")
  const result = await place.typed(
    ["key", "add", path, ...FAST],
    [
      ["existing passphrase", "wrong\r"],
      ["existing passphrase", "right\r"],
      ["new passphrase", "fresh one\r"],
      ["Verify", "fresh one\r"],
    ],
  )
  assert.equal(result.code, 0, result.stdout)
  assert.ok(!result.stdout.includes("fresh one"))
  assert.equal(await tresorOpens(path, place.file("typed.key", "fresh one")), 0)
})

test("from standard input: existing and new passphrase, a line each", async () => {
  const { path } = await place.volume("piped.img", "right")
  await succeeds(place.tresor(["key", "add", path, ...FAST], { input: "right\nfresh\n" }))
  assert.equal(await tresorOpens(path, place.file("piped.key", "fresh")), 0)
})

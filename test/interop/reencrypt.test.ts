/** Reencryption beside stock cryptsetup, offline: each resumes what the other began, wherever it was cut off. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import { test } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { decodeHeader } from "../../src/luks2/header.ts"
import { decryptXts } from "../../src/testing/luks.ts"
import { Place, run, tresorPath } from "../cli/harness.ts"
import { whereIn } from "./pass.ts"
import { CHEAP, programs } from "./programs.ts"

const place = new Place()
const SIZE = 24 << 20
const OFFSET = 4 << 20
const keyFile = place.file("key", "a passphrase")
const SMALL = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "2080768"]

const { ours, stock, volumeKey, cut, checkSound } = programs(place, keyFile)

/** A volume that cryptsetup made, with noise for data. */
async function volume(name: string, ...more: string[]): Promise<string> {
  const path = place.file(name, randomBytes(SIZE))
  const format = ["luksFormat", "-q", "--type", "luks2", ...CHEAP, ...SMALL, "--offset", String(OFFSET / 512)]
  await stock(...format, "--key-file", keyFile, ...more, path)
  return path
}

async function headerOf(path: string) {
  const bytes = Buffer.alloc(OFFSET)
  const file = openSync(path, "r")
  const length = readSync(file, bytes, 0, OFFSET, 0)
  closeSync(file)
  return decodeHeader(bytes.subarray(0, length))
}

async function plaintext(path: string): Promise<Buffer> {
  const { metadata } = await headerOf(path)
  const { sectorSize } = metadata.segments.get(0)!
  return decryptXts(await volumeKey(path), sectorSize, 0n, readFileSync(path).subarray(OFFSET))
}

/** Data as before, a new key, no trace of a reencryption, and nothing for cryptsetup to complain about. */
async function checkMoved(path: string, before: Buffer, oldKey: Buffer): Promise<void> {
  assert.ok(before.equals(await plaintext(path)), `${path}: the data are others`)
  assert.ok(!oldKey.equals(await volumeKey(path)), `${path}: the key is the old one`)
  const { metadata } = await headerOf(path)
  assert.deepEqual([metadata.config.requirements, metadata.segments.size, metadata.digests.size], [[], 1, 1])
  await checkBoth(path)
}

async function checkBoth(path: string): Promise<void> {
  await checkSound(path)
  const { code, stdout, stderr } = await place.tresor(["check", path])
  assert.equal(code, 0, stdout + stderr)
}

const REENCRYPT = ["reencrypt", "-q", "--key-file", keyFile, ...CHEAP]
const STOCK = [...REENCRYPT, "--force-offline-reencrypt", "--hotzone-size", "1M"]
const RESUME = ["reencrypt", "-q", "--key-file", keyFile, "--force-offline-reencrypt", "--resume-only"]

const where = (path: string) => whereIn(path, SIZE - OFFSET)

/** Ready when so many bytes are under the new key. */
const reached = (path: string, bytes: number) => async () => ((await where(path))?.position ?? -1n) >= BigInt(bytes)

const KINDS: Readonly<Record<string, readonly string[]>> = {
  "512-byte sectors": ["--sector-size", "512"],
  "4096-byte sectors": ["--sector-size", "4096"],
  "a key of 256 bits": ["--key-size", "256", "--sector-size", "4096"],
}

for (const [kind, options] of Object.entries(KINDS)) {
  for (const resilience of ["checksum", "journal"]) {
    test(`a volume of cryptsetup's with ${kind} gets a new key, resilience ${resilience}`, async () => {
      const path = await volume("moved.img", ...options)
      const [before, oldKey] = [await plaintext(path), await volumeKey(path)]
      const said = await ours(...REENCRYPT, "--resilience", resilience, "--hotzone-size", "3M", path)
      assert.equal(said, `All data of ${path} are under the new volume key. Keyslot 0 of the old key is destroyed.\n`)
      await checkMoved(path, before, oldKey)
    })
  }
}

test("sectors of 512 bytes become 4096 bytes, and a key of 512 bits one of 256", async () => {
  const path = await volume("larger.img", "--sector-size", "512")
  const [before, oldKey] = [await plaintext(path), await volumeKey(path)]
  await ours(...REENCRYPT, "--sector-size", "4096", "--key-size", "256", path)
  await checkMoved(path, before, oldKey)
  assert.equal((await volumeKey(path)).length, 32)
  assert.equal((await headerOf(path)).metadata.segments.get(0)!.sectorSize, 4096)
})

for (const resilience of ["checksum", "journal"]) {
  test(`cryptsetup repairs and resumes what Tresor left, killed or paused, resilience ${resilience}`, async () => {
    const path = await volume("ours.img", "--sector-size", "512")
    const [before, oldKey] = [await plaintext(path), await volumeKey(path)]
    const original = place.path("ours.original")
    copyFileSync(path, original)
    const command = [
      tresorPath,
      ...REENCRYPT,
      "--resilience",
      resilience,
      "--hotzone-size",
      "512K",
      "--throttle",
      "20",
      path,
    ] as const
    for (const [signal, at] of [
      ["SIGKILL", 0],
      ["SIGKILL", 5 << 20],
      ["SIGKILL", 12 << 20],
      ["SIGTERM", 3 << 20],
    ] as const) {
      copyFileSync(original, path)
      assert.ok(await cut(command, signal, reached(path, at)), "it had ended")
      const found = await where(path)
      assert.ok(found !== null && !found.done)
      if (signal === "SIGTERM") assert.equal(found.hot, 0n)
      await checkBoth(path)
      if (found.hot > 0n) await stock("repair", "-q", "--key-file", keyFile, path)
      await stock(...RESUME, path)
      await checkMoved(path, before, oldKey)
    }
  })

  test(`Tresor recovers and resumes what cryptsetup left, killed or interrupted, resilience ${resilience}`, async () => {
    const path = await volume("theirs.img", "--sector-size", "512")
    const [before, oldKey] = [await plaintext(path), await volumeKey(path)]
    const original = place.path("theirs.original")
    copyFileSync(path, original)
    for (const [signal, at] of [
      ["SIGKILL", 1 << 20],
      ["SIGKILL", 9 << 20],
      ["SIGINT", 4 << 20],
    ] as const) {
      // It may end before it is seen.
      for (let tries = 0; tries < 5; tries++) {
        copyFileSync(original, path)
        await cut(["cryptsetup", ...STOCK, "--resilience", resilience, path], signal, reached(path, at))
        if ((await where(path)) !== null) break
      }
      assert.notEqual(await where(path), null, "it had ended each time")
      await ours(...REENCRYPT, "--resume", path)
      await checkMoved(path, before, oldKey)
    }
  })
}

test("what cryptsetup only began is resumed, and other kinds of reencryption are left to it", async () => {
  const path = await volume("began.img")
  const [before, oldKey] = [await plaintext(path), await volumeKey(path)]
  await stock(...STOCK, "--init-only", path)
  await ours("reencrypt", "--key-file", keyFile, path)
  await checkMoved(path, before, oldKey)

  const none = await volume("none.img")
  await stock(...STOCK, "--init-only", "--resilience", "none", none)
  const bytes = readFileSync(none)
  const { code, stderr } = await place.tresor([...REENCRYPT, "--resume", none])
  assert.equal(code, 4)
  assert.match(
    stderr,
    /its resilience is none, which Tresor does not support; `cryptsetup reencrypt --resume-only` finishes it/,
  )
  assert.ok(bytes.equals(readFileSync(none)), "something was written")
})

test("a passphrase of Tresor's is carried over; what cryptsetup went on with wants --authenticate", async () => {
  const { path } = await place.volume("sealed.img", "a passphrase")
  await ours(
    "key",
    "add",
    path,
    "--portable",
    "--key-file",
    keyFile,
    "--new-key-file",
    place.file("other", "portable one"),
    ...CHEAP,
  )
  const other = place.path("other")
  const words = [...REENCRYPT, "--carry-key-file", other, "--hotzone-size", "512K", "--throttle", "20", path]
  assert.ok(await cut([tresorPath, ...words], "SIGTERM", reached(path, 2 << 20)))
  // It opens with both keys (reencrypt-open.test.ts), and is pending afterwards.
  await ours("open", path, "work", "--key-file", keyFile)
  await ours("close", "work")
  await checkFails(["key", "add", path, "--key-file", keyFile, "--new-key-file", other], 4, /a reencryption is pending/)
  const theirs = [
    "reencrypt",
    "-q",
    "--key-file",
    other,
    "--force-offline-reencrypt",
    "--resume-only",
    "--hotzone-size",
    "1M",
  ]
  // It may be so quick that it is cut off after the last zone, or not at all.
  const left = readFileSync(path)
  for (let tries = 0; tries < 5; tries++) {
    writeFileSync(path, left)
    await cut(["cryptsetup", ...theirs, path], "SIGKILL", reached(path, 4 << 20))
    if ((await where(path)) !== null) break
  }
  await checkFails([...REENCRYPT, "--resume", path], 4, /not as it was authenticated|its state is not authenticated/)
  await ours(...REENCRYPT, "--resume", "--authenticate", path)
  for (const file of [keyFile, other])
    await ours("open", path, "work", "--key-file", file).then(() => ours("close", "work"))
  const listed = JSON.parse(await ours("key", "list", path, "--json")) as { slot: number; kind: string }[]
  assert.deepEqual(
    listed.map(({ slot, kind }) => [slot, kind]),
    [
      [2, "tresor"],
      [3, "portable"],
    ],
  )
})

async function checkFails(args: readonly string[], exit: number, message: RegExp): Promise<void> {
  const { code, stderr } = await place.tresor(args)
  assert.equal(code, exit, stderr)
  assert.match(stderr, message)
}

test("killed twenty times, it loses nothing", async () => {
  const path = await volume("killed.img", "--sector-size", "512")
  const [before, oldKey] = [await plaintext(path), await volumeKey(path)]
  const words = [...REENCRYPT, "--hotzone-size", "256K", "--throttle", "4"]
  for (let kill = 0; kill < 20; kill++) {
    const found = await where(path)
    assert.equal(found !== null, kill > 0)
    // One zone takes 65 ms: each run converts one or two of the 80, and is cut off anywhere in the next.
    const zone = reached(path, Number(found?.position ?? 0n) + (256 << 10))
    const ready = async () => (await zone()) && delay((kill * 11) % 70, true)
    assert.ok(await cut([tresorPath, ...words, ...(found === null ? [] : ["--resume"]), path], "SIGKILL", ready))
    await checkBoth(path)
  }
  await ours(...REENCRYPT, "--resume", path)
  await checkMoved(path, before, oldKey)
})

test("a wrong passphrase, an open volume, a read-only file and a header that was rolled back change nothing", async () => {
  const path = await volume("refused.img")
  const bytes = readFileSync(path)
  await checkFails(["reencrypt", "-q", "--key-file", place.file("wrong", "wrong"), path], 2, /No key available/)
  await checkFails([...REENCRYPT, "--resume", path], 1, /no reencryption is pending/)
  await ours("open", path, "busy", "--key-file", keyFile)
  // A new key is made beside its requests (reencrypt-open.test.ts); plaintext is not.
  await checkFails(
    ["reencrypt", "--decrypt", "-q", "--key-file", keyFile, path],
    5,
    /it is open as busy; close it first/,
  )
  await ours("close", "busy")
  assert.ok(bytes.equals(readFileSync(path)))
  assert.ok(
    await cut(
      [tresorPath, ...REENCRYPT, "--hotzone-size", "512K", "--throttle", "20", path],
      "SIGTERM",
      reached(path, 2 << 20),
    ),
  )
  const early = readFileSync(path).subarray(0, OFFSET)
  const more = [tresorPath, ...REENCRYPT, "--resume", "--hotzone-size", "512K", "--throttle", "20", path] as const
  assert.ok(await cut(more, "SIGTERM", reached(path, 6 << 20)))
  const late = readFileSync(path)
  writeFileSync(path, Buffer.concat([early, late.subarray(OFFSET)]))
  await checkFails([...REENCRYPT, "--resume", path], 4, /its header is of another time than its data/)
  writeFileSync(path, late)
  await ours(...REENCRYPT, "--resume", path)
})

test("a header backup of another volume key, or of the middle of a reencryption, is restored with --force only", async () => {
  const path = await volume("restored.img")
  const backup = (name: string) => place.path(name)
  await ours("header", "backup", path, backup("before"))
  assert.ok(
    await cut(
      [tresorPath, ...REENCRYPT, "--hotzone-size", "512K", "--throttle", "20", path],
      "SIGTERM",
      reached(path, 2 << 20),
    ),
  )
  const pending = readFileSync(path)
  await ours("header", "backup", path, backup("middle"))
  await checkFails(["header", "restore", "-q", path, backup("before")], 4, /a reencryption of it is pending, .*--force/)
  await ours(...REENCRYPT, "--resume", path)
  await checkFails(["header", "restore", "-q", path, backup("before")], 4, /under another volume key .*--force/)
  await checkFails(["header", "restore", "-q", path, backup("middle")], 4, /a reencryption in .*middle is pending/)
  writeFileSync(path, pending)
  await ours("header", "restore", "-q", "--force", path, backup("middle"))
  assert.ok(pending.subarray(OFFSET).equals(readFileSync(path).subarray(OFFSET)))
  await ours(...REENCRYPT, "--resume", path)
})

test("a detached header: it and the data are two files, and the header alone is no volume", async () => {
  const [data, header] = [place.file("apart.img", randomBytes(8 << 20)), place.path("apart.header")]
  const format = ["luksFormat", "-q", "--type", "luks2", ...CHEAP, ...SMALL, "--header", header, "--key-file", keyFile]
  await stock(...format, data)
  const text = async () =>
    decryptXts(
      await volumeKey(header),
      (await headerOf(header)).metadata.segments.get(0)!.sectorSize,
      0n,
      readFileSync(data),
    )
  const [before, oldKey, bytes] = [await text(), await volumeKey(header), readFileSync(header)]
  await checkFails([...REENCRYPT, header], 4, /it is a detached header, without data/)
  assert.ok(bytes.equals(readFileSync(header)))
  const words = [...REENCRYPT, "--header", header, "--hotzone-size", "512K", "--throttle", "20", data] as const
  assert.ok(await cut([tresorPath, ...words], "SIGKILL", reached(header, 2 << 20)))
  await stock("repair", "-q", "--key-file", keyFile, "--header", header, data).catch(() => {})
  await ours(...REENCRYPT, "--resume", "--authenticate", "--header", header, data)
  assert.ok(before.equals(await text()))
  assert.ok(!oldKey.equals(await volumeKey(header)))
})

test("a file with holes that its filesystem has no room for, and one that cannot be written, are refused", async (t) => {
  const folder = place.path("small")
  mkdirSync(folder)
  if ((await run("mount", ["-t", "tmpfs", "-o", "size=12M", "tmpfs", folder])).code !== 0)
    return t.skip("no tmpfs here")
  try {
    const path = `${folder}/sparse.img`
    writeFileSync(path, "")
    truncateSync(path, SIZE)
    const format = ["luksFormat", "-q", "--type", "luks2", ...CHEAP, ...SMALL, "--offset", String(OFFSET / 512)]
    await stock(...format, "--key-file", keyFile, path)
    const header = readFileSync(path).subarray(0, OFFSET)
    await checkFails([...REENCRYPT, path], 4, /the file has holes, which reencryption fills: .* make room first/)
    assert.equal((await run("mount", ["-o", "remount,ro", folder])).code, 0)
    await checkFails([...REENCRYPT, path], 1, /write-protected, or lies on a read-only filesystem/)
    assert.ok(header.equals(readFileSync(path).subarray(0, OFFSET)))
  } finally {
    await run("umount", [folder])
  }
})

test("the new recovery key resumes a reencryption, in Tresor and in cryptsetup, and opens the volume afterwards", async () => {
  const [old, fresh] = [place.path("old.recovery"), place.path("new.recovery")]
  const made = place.path("made.img")
  const create = ["create", made, "--size", "32M", "--key-file", keyFile, "--recovery-key-file", old, ...CHEAP]
  await ours(...create)
  const words = [
    ...REENCRYPT,
    "--recovery-key-file",
    fresh,
    "--hotzone-size",
    "512K",
    "--throttle",
    "20",
    made,
  ] as const
  assert.ok(await cut([tresorPath, ...words], "SIGTERM", reached(made, 2 << 20)))
  const pending = readFileSync(made)
  await checkFails(["reencrypt", "-q", "--resume", "--key-file", old, made], 2, /No key available/)
  await ours("reencrypt", "-q", "--resume", "--key-file", fresh, made)
  const theirs = place.file("theirs-recovered.img", pending)
  await stock("reencrypt", "-q", "--key-file", fresh, "--force-offline-reencrypt", "--resume-only", theirs)
  for (const each of [made, theirs]) {
    await stock("open", "--test-passphrase", "--key-file", fresh, each)
    assert.notEqual((await run("cryptsetup", ["open", "--test-passphrase", "--key-file", old, each])).code, 0)
  }
  await ours("open", made, "again", "--key-file", keyFile)
  await ours("close", "again")
})

test("at a terminal each other passphrase is asked for, what is lost is named, and nothing happens without a yes", async () => {
  const path = await volume("asked.img")
  for (const word of ["second", "third"]) {
    await stock("luksAddKey", "-q", ...CHEAP, "--key-file", keyFile, path, place.file(word, word))
  }
  const bytes = readFileSync(path)
  const answers = (last: string) =>
    [
      ["Enter any existing passphrase", "a passphrase\r"],
      ["Enter passphrase of keyslot 1 to keep it", "second\r"],
      ["Enter passphrase of keyslot 2 to keep it", "\r"],
      ["Are you sure?", last],
    ] as const
  const refused = await place.typed(["reencrypt", ...CHEAP, path], answers("no\r"))
  assert.equal(refused.code, 2, refused.stdout)
  assert.match(refused.stdout, /Its passphrase in keyslot 2 opens it no longer afterwards/)
  assert.ok(bytes.equals(readFileSync(path)), "something was written")
  const done = await place.typed(["reencrypt", ...CHEAP, path], answers("YES\r"))
  assert.equal(done.code, 0, done.stdout)
  assert.match(done.stdout, /Keyslots 0, 1, 2 of the old key are destroyed/)
  for (const [word, code] of [
    ["key", 0],
    ["second", 0],
    ["third", 2],
  ] as const) {
    const opened = await run("cryptsetup", ["open", "--test-passphrase", "--key-file", place.path(word), path])
    assert.equal(opened.code, code, word)
  }
})

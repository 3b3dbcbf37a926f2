/** The header's commands beside cryptsetup's: show, back up, restore, examine, mend, name. */
import assert from "node:assert/strict"
import { closeSync, copyFileSync, openSync, readFileSync, statSync, writeSync } from "node:fs"
import { before, test } from "node:test"
import { Place, type Result, run } from "../cli/harness.ts"

const place = new Place()
const HEADER = 131072
let path = ""
let keyFile = ""

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img"))
})

async function cryptsetup(...args: string[]): Promise<string> {
  const done = await run("cryptsetup", args)
  assert.equal(done.code, 0, `cryptsetup ${args.join(" ")}: ${done.stderr}`)
  return done.stdout
}

function refused(result: Result, code: number, text: RegExp): void {
  assert.equal(result.code, code, result.stderr)
  assert.match(result.stderr, text)
}

async function ok(...args: string[]): Promise<string> {
  const done = await place.tresor(args)
  assert.equal(done.code, 0, done.stderr)
  return done.stdout
}

/** A copy of the volume with bytes of it replaced. */
function damaged(name: string, ...offsets: number[]): string {
  const copy = place.path(name)
  copyFileSync(path, copy)
  const file = openSync(copy, "r+")
  for (const offset of offsets) writeSync(file, Buffer.alloc(2048), 0, 2048, offset)
  closeSync(file)
  return copy
}

test("dump says what luksDump says, in text and as JSON", async () => {
  const theirs = JSON.parse(await cryptsetup("luksDump", path, "--dump-json-metadata"))
  const { metadata, headerSize } = JSON.parse(await ok("dump", path, "--json"))
  assert.deepEqual(metadata, theirs)
  assert.equal(headerSize, HEADER)
  // Values may be set with other spaces; names and values are the same.
  const words = (text: string) => text.replace(/\s+/g, " ")
  const lines = (await cryptsetup("luksDump", path)).split("\n")
  const ours = words(await ok("dump", path)).replaceAll(" ", "")
  for (const line of lines.filter((each) =>
    /^(Version|Epoch|Metadata|Keyslots area|UUID)|offset:|sector:|cipher:|Salt:|Hash:|Iterations/.test(each),
  )) {
    assert.ok(ours.includes(line.replace(/\s/g, "")), line)
  }
})

test("key list names the keyslots that luksDump names", async () => {
  const theirs = JSON.parse(await cryptsetup("luksDump", path, "--dump-json-metadata"))
  const ours: { slot: number; kind: string; priority: string }[] = JSON.parse(await ok("key", "list", path, "--json"))
  assert.deepEqual(
    ours.map(({ slot }) => String(slot)),
    Object.keys(theirs.keyslots),
  )
  assert.deepEqual(
    ours.map(({ kind, priority }) => [kind, priority]),
    [["tresor", "normal"]],
  )
})

test("a backup is cryptsetup's, byte for byte, readable by its owner only, and never overwritten", async () => {
  const [ours, theirs] = [place.path("ours.hdr"), place.path("theirs.hdr")]
  await ok("header", "backup", path, ours)
  await cryptsetup("luksHeaderBackup", path, "--header-backup-file", theirs)
  assert.ok(readFileSync(ours).equals(readFileSync(theirs)))
  assert.equal(statSync(ours).mode & 0o077, 0)
  refused(await place.tresor(["header", "backup", path, ours]), 5, /exists/)
})

test("each restores the other's backup over a destroyed header, and the passphrase opens again", async () => {
  const backup = place.path("restore.hdr")
  await ok("header", "backup", path, backup)
  const ours = damaged("ours-restored.img", 0, HEADER)
  await ok("header", "restore", ours, backup, "--batch-mode")
  assert.ok(readFileSync(ours).equals(readFileSync(path)))
  const theirs = damaged("theirs-restored.img", 0, HEADER)
  await cryptsetup("luksHeaderRestore", theirs, "-q", "--header-backup-file", backup)
  for (const [name, each] of [
    ["a", ours],
    ["b", theirs],
  ] as const) {
    await ok("open", each, name, "--key-file", keyFile)
    await ok("close", name)
  }
})

test("restore asks, and refuses another volume's backup, what is none, and an open volume", async () => {
  const backup = place.path("asked.hdr")
  await ok("header", "backup", path, backup)
  refused(await place.tresor(["header", "restore", path, backup], { input: "no\n" }), 2, /not confirmed/)
  const other = await place.volume("other.img")
  const before = readFileSync(other.path)
  refused(await place.tresor(["header", "restore", other.path, backup, "--batch-mode"]), 4, /UUID.*--force/)
  refused(
    await place.tresor([
      "header",
      "restore",
      other.path,
      place.file("garbage", Buffer.alloc(1 << 20, 7)),
      "--batch-mode",
    ]),
    4,
    /LUKS/,
  )
  refused(await place.tresor(["header", "restore", other.path, place.path("none"), "--batch-mode"]), 4, /no such file/)
  assert.ok(readFileSync(other.path).equals(before), "something was changed")
  await ok("open", path, "held", "--key-file", keyFile)
  refused(await place.tresor(["header", "restore", path, backup, "--batch-mode"]), 5, /open as held/)
  await ok("close", "held")
})

test("check finds a sound header sound, and says which copy is broken", async () => {
  const sound = await ok("check", path)
  assert.match(sound, /first header at 0: checksum holds/)
  assert.match(sound, /second header at 131072: checksum holds/)
  for (const [which, offset] of [
    ["first", 0],
    ["second", HEADER],
  ] as const) {
    const broken = damaged(`${which}.img`, offset)
    const found = await place.tresor(["check", broken])
    assert.equal(found.code, 4)
    assert.match(found.stdout, new RegExp(`✖ ${which} header at ${offset}: its magic is wrong`))
    assert.match(found.stderr, /tresor check --repair/)
    assert.match(await ok("check", broken, "--repair"), new RegExp(`The ${which} header was written anew`))
    assert.match(await ok("check", broken), /first.*holds.*\n.*second.*holds/)
    // A copy that is written gets a salt of its own; the rest is as it was.
    const dump = (file: string) => cryptsetup("luksDump", file, "--dump-json-metadata")
    assert.equal(await dump(broken), await dump(path))
    assert.ok(
      readFileSync(broken)
        .subarray(2 * HEADER)
        .equals(readFileSync(path).subarray(2 * HEADER)),
    )
  }
  refused(await place.tresor(["check", damaged("both.img", 0, HEADER)]), 4, /no LUKS header/)
  refused(await place.tresor(["check", damaged("both.img", 0, HEADER), "--repair"]), 4, /no LUKS header/)
})

test("a label and a UUID are what blkid sees; a UUID that passphrases are sealed to stays", async () => {
  await ok("label", path, "my disk")
  assert.equal(await ok("label", path), "my disk\n")
  assert.equal((await run("blkid", ["-p", "-s", "LABEL", "-o", "value", path])).stdout.trim(), "my disk")
  const uuid = (await ok("uuid", path)).trim()
  assert.equal((await run("blkid", ["-p", "-s", "UUID", "-o", "value", path])).stdout.trim(), uuid)
  const wanted = "11111111-2222-4333-8444-555555555555"
  refused(await place.tresor(["uuid", path, wanted]), 1, /sealed to it/)

  const stock = place.file("stock.img", Buffer.alloc(24 << 20))
  await cryptsetup(
    "luksFormat",
    "--type",
    "luks2",
    "-q",
    "--pbkdf",
    "pbkdf2",
    "--pbkdf-force-iterations",
    "1000",
    stock,
    keyFile,
  )
  await ok("uuid", stock, wanted)
  assert.equal((await cryptsetup("luksUUID", stock)).trim(), wanted)
  await cryptsetup("open", "--test-passphrase", "--key-file", keyFile, stock)
})

test("wipe takes the UUID as its yes, and leaves no keyslot", async () => {
  const wiped = damaged("wiped.img")
  refused(await place.tresor(["wipe", wiped], { input: "yes\n" }), 2, /confirm|UUID/)
  const uuid = (await ok("uuid", wiped)).trim()
  const done = await place.tresor(["wipe", wiped], { input: `${uuid}\n` })
  assert.equal(done.code, 0, done.stderr)
  assert.deepEqual(JSON.parse(await cryptsetup("luksDump", wiped, "--dump-json-metadata")).keyslots, {})
  const opened = await place.tresor(["open", wiped, "gone", "--key-file", keyFile])
  assert.equal(opened.code, 2)
})

test("what is no volume exits 4 with one line, for each command", async () => {
  const file = place.file("zeros", Buffer.alloc(1 << 20))
  for (const args of [["dump"], ["check"], ["label"], ["uuid"], ["key", "list"], ["header", "backup"]]) {
    const result = await place.tresor([...args, file, ...(args[1] === "backup" ? [place.path("never.hdr")] : [])])
    assert.equal(result.code, 4, args.join(" "))
    assert.match(result.stderr, /^tresor: error: Device .*zeros is not a valid LUKS device[^\n]*\n$/)
  }
})

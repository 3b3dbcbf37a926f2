/** The header's commands beside cryptsetup's: show, back up, restore, examine, mend, name. */
import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import {
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { Place, type Result, run } from "../cli/harness.ts"

/** The members of the JSON area that are changed here. */
interface Metadata {
  readonly keyslots: Record<string, { area: { offset: string } }>
  readonly tokens: Record<string, { keyslots: string[] }>
  readonly digests: Record<string, { keyslots: string[] }>
  readonly config: { flags?: string[] }
}

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

/** Ours without the lines that luksDump does not have. */
const asLuksDump = (text: string): string =>
  text
    .split("\n")
    .filter((line) => !/^\t(KDF|Sealed to|Backend|MRSIGNER|MRENCLAVE|Product|MACs):/.test(line))
    .join("\n")

test("dump is luksDump line for line, in text and as JSON", async () => {
  const theirs = JSON.parse(await cryptsetup("luksDump", path, "--dump-json-metadata"))
  const { metadata, headerSize } = JSON.parse(await ok("dump", path, "--json"))
  assert.deepEqual(metadata, theirs)
  assert.equal(headerSize, HEADER)
  assert.equal(asLuksDump(await ok("dump", path)), await cryptsetup("luksDump", path))
})

test("dump is luksDump line for line for flags, priorities, unbound keyslots, tokens and a reencryption", async () => {
  const disk = place.file("rich.img", "")
  truncateSync(disk, 32 << 20)
  const key = place.file("rich.key", "correct horse")
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const argon = ["--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32"]
  await cryptsetup("luksFormat", "-q", "--type", "luks2", "--label", "a label", ...kdf, disk, key)
  await cryptsetup("luksAddKey", "-q", ...argon, "--key-file", key, disk, key)
  await cryptsetup("luksAddKey", "-q", "--unbound", "--key-size", "256", ...kdf, disk, key)
  await cryptsetup("config", disk, "--key-slot", "1", "--priority", "prefer")
  await cryptsetup("token", "add", "--key-description", "none", disk)
  const same = async () => assert.equal(asLuksDump(await ok("dump", disk)), await cryptsetup("luksDump", disk))
  await same()
  await cryptsetup("reencrypt", "-q", "--init-only", "--key-file", key, "--key-slot", "0", ...kdf, disk)
  await same()
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

test("a backup of a volume with a broken copy holds the good one twice, and both programs restore it", async () => {
  for (const [name, offset] of [
    ["first", 0],
    ["second", HEADER],
  ] as const) {
    const disk = damaged(`backup-${name}.img`, offset)
    const backup = place.path(`backup-${name}.hdr`)
    await ok("header", "backup", disk, backup)
    const [ours, theirs] = [damaged("b-ours.img", 0, HEADER), damaged("b-theirs.img", 0, HEADER)]
    await ok("header", "restore", ours, backup, "--batch-mode")
    await cryptsetup("luksHeaderRestore", theirs, "-q", "--header-backup-file", backup)
    for (const each of [ours, theirs]) {
      await ok("check", each)
      await ok("open", each, "restored", "--key-file", keyFile)
      await ok("close", "restored")
    }
  }
})

test("a backup of which one copy is valid is restored; one that is cut off is not", async () => {
  const backup = place.path("half.hdr")
  await ok("header", "backup", path, backup)
  const file = openSync(backup, "r+")
  writeSync(file, Buffer.alloc(4096), 0, 4096, 0)
  closeSync(file)
  const disk = damaged("half.img", 0, HEADER)
  await ok("header", "restore", disk, backup, "--batch-mode")
  await ok("check", disk)
  truncateSync(backup, 4 << 20)
  refused(await place.tresor(["header", "restore", disk, backup, "--batch-mode"]), 4, /is truncated/)
})

test("a header of another size is restored, and nothing of the old one is left in its place", async () => {
  const uuid = "5f1f9f6e-7d5f-4b3e-8f5e-2f3f6d0a4b11"
  const key = place.file("sizes.key", "correct horse")
  const format = async (name: string, metadata: string) => {
    const disk = place.file(name, "")
    truncateSync(disk, 32 << 20)
    const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    const sizes = ["--luks2-metadata-size", metadata, "--luks2-keyslots-size", "1m", "--offset", String(16 << 11)]
    await cryptsetup("luksFormat", "-q", "--type", "luks2", "--uuid", uuid, ...kdf, ...sizes, disk, key)
    const backup = place.path(`${name}.hdr`)
    await ok("header", "backup", disk, backup)
    return { disk, backup }
  }
  const [small, large] = [await format("small.img", "16k"), await format("large.img", "4m")]
  for (const [to, from] of [
    [large, small],
    [small, large],
  ] as const) {
    const disk = place.path("sized.img")
    copyFileSync(to.disk, disk)
    // They are of two volume keys.
    await ok("header", "restore", disk, from.backup, "--batch-mode", "--force")
    await ok("check", disk)
    const size = statSync(from.backup).size
    const bytes = readFileSync(disk)
    assert.ok(bytes.subarray(0, size).equals(readFileSync(from.backup)))
    assert.ok(
      bytes.subarray(size, 16 << 20).every((byte) => byte === 0),
      "a second copy or keyslots of the old header are left",
    )
    await cryptsetup("open", "--test-passphrase", disk, "--key-file", key)
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
    assert.match(await ok("check", broken, "--repair", "--batch-mode"), new RegExp(`The ${which} header was rewritten`))
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
  refused(
    await place.tresor(["check", damaged("both.img", 0, HEADER), "--repair", "--batch-mode"]),
    4,
    /no LUKS header/,
  )
})

test("a label and a UUID are what blkid sees; a UUID that passphrases are sealed to stays", async () => {
  await ok("label", path, "my disk")
  assert.equal(await ok("label", path), "my disk\n")
  assert.equal((await run("blkid", ["-p", "-s", "LABEL", "-o", "value", path])).stdout.trim(), "my disk")
  const uuid = (await ok("uuid", path)).trim()
  assert.equal((await run("blkid", ["-p", "-s", "UUID", "-o", "value", path])).stdout.trim(), uuid)
  const wanted = "11111111-2222-4333-8444-555555555555"
  refused(await place.tresor(["uuid", path, wanted]), 1, /sealed to [0-9a-f-]{36}; /)

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
  const theirs = await run("cryptsetup", ["open", "--test-passphrase", wiped, "--key-file", keyFile])
  assert.deepEqual([opened.code, theirs.code], [1, 1])
})

test("what is no volume exits 4 with one line, for each command", async () => {
  const file = place.file("zeros", Buffer.alloc(1 << 20))
  for (const args of [["dump"], ["check"], ["label"], ["uuid"], ["key", "list"], ["header", "backup"]]) {
    const result = await place.tresor([...args, file, ...(args[1] === "backup" ? [place.path("never.hdr")] : [])])
    assert.equal(result.code, 4, args.join(" "))
    assert.match(result.stderr, /^tresor: error: Device .*zeros is not a valid LUKS device[^\n]*\n$/)
  }
})

/** Rewrites the JSON area of one copy, with a checksum that holds: what a careless tool leaves. */
function edited(file: string, offset: number, change: (metadata: Metadata) => void): void {
  const descriptor = openSync(file, "r+")
  try {
    const copy = Buffer.alloc(HEADER)
    readSync(descriptor, copy, 0, HEADER, offset)
    const metadata = JSON.parse(copy.subarray(4096, copy.indexOf(0, 4096)).toString()) as Metadata
    change(metadata)
    copy.fill(0, 4096)
    copy.write(JSON.stringify(metadata), 4096)
    copy.fill(0, 448, 512)
    createHash("sha256").update(copy).digest().copy(copy, 448)
    writeSync(descriptor, copy, 0, HEADER, offset)
  } finally {
    closeSync(descriptor)
  }
}

const FAULTS: readonly (readonly [string, RegExp, (metadata: Metadata) => void])[] = [
  [
    "dangling",
    /tokens\.0 names keyslot 7, which does not exist/,
    ({ tokens }) => {
      tokens["0"]!.keyslots = ["7"]
    },
  ],
  [
    "overlap",
    /the areas of keyslots 0 and 1 overlap/,
    ({ keyslots, digests }) => {
      const twin = structuredClone(keyslots["0"]!)
      twin.area.offset = String(Number(twin.area.offset) + 4096)
      keyslots["1"] = twin
      digests["0"]!.keyslots = ["0", "1"]
    },
  ],
]

for (const [name, said, change] of FAULTS) {
  test(`check names what is wrong in a copy whose checksum holds: ${name}`, async () => {
    for (const [which, offset] of [
      ["first", 0],
      ["second", HEADER],
    ] as const) {
      const file = damaged(`${name}-${which}.img`)
      edited(file, offset, change)
      const found = await place.tresor(["check", file])
      assert.equal(found.code, 4)
      assert.match(found.stdout, new RegExp(`✖ ${which} header at ${offset}: .*${said.source}`))
      await ok("check", file, "--repair", "--batch-mode")
      const mended = readFileSync(file)
      await cryptsetup("repair", "-q", file)
      assert.ok(readFileSync(file).equals(mended), "cryptsetup found more to repair")
      assert.equal(
        await cryptsetup("luksDump", file, "--dump-json-metadata"),
        await cryptsetup("luksDump", path, "--dump-json-metadata"),
      )
    }
    const both = damaged(`${name}-both.img`)
    for (const offset of [0, HEADER]) edited(both, offset, change)
    const before = readFileSync(both)
    refused(await place.tresor(["check", both, "--repair", "--batch-mode"]), 4, said)
    assert.ok(readFileSync(both).equals(before), "something was changed")
    assert.notEqual((await run("cryptsetup", ["luksDump", both])).code, 0)
  })
}

test("check tells copies apart that differ under one sequence id, and damage that only a backup mends", async () => {
  const file = damaged("differs.img")
  const flagged = ({ config }: Metadata) => {
    config.flags = ["allow-discards"]
  }
  edited(file, HEADER, flagged)
  const differs = await place.tresor(["check", file])
  assert.equal(differs.code, 4)
  assert.match(differs.stdout, /✖ second header at 131072: not the same as the other/)
  const orphan = ({ digests }: Metadata) => {
    digests["0"]!.keyslots = []
  }
  edited(file, HEADER, orphan)
  assert.match(
    (await place.tresor(["check", file])).stdout,
    /✖ second header at 131072: [^\n]*keyslot 0 is unreachable/,
  )
  edited(file, 0, orphan)
  const unreachable = await place.tresor(["check", file, "--repair", "--batch-mode"])
  assert.equal(unreachable.code, 4)
  assert.match(unreachable.stderr, /keyslot 0 is unreachable/)
  assert.match(unreachable.stderr, /tresor header restore/)
})

test("the old header is kept aside until the new one is written, and named when that fails", async () => {
  const backup = place.path("aside.hdr")
  await ok("header", "backup", path, backup)
  const file = damaged("aside.img")
  const before = readFileSync(file)
  const asides = () => readdirSync(place.env["TRESOR_STATE_DIR"]!).filter((name) => name.startsWith("header-"))
  const log = ["-o", place.path("strace.log")]
  const failing = await run(
    "strace",
    ["-f", "-qq", ...log, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EIO:when=2"].concat([
      ...[process.execPath, join(import.meta.dirname, "../cli/unhardened.cjs")],
      ...["header", "restore", file, backup, "--batch-mode"],
    ]),
    { env: place.env },
  )
  refused(failing, 4, /EIO.*the previous contents are in .*header-/)
  assert.equal(asides().length, 1)
  const aside = join(place.env["TRESOR_STATE_DIR"]!, asides()[0]!)
  assert.equal(statSync(aside).mode & 0o077, 0)
  const kept = readFileSync(aside)
  assert.ok(kept.equals(before.subarray(0, kept.length)))
  await ok("header", "restore", file, aside, "--batch-mode")
  assert.equal(asides().length, 1, "a restore that succeeded left its own behind")
})

test("a detached header: shown, backed up, examined, named, restored, and never over data", async () => {
  const header = place.path("apart.hdr")
  const { path: data, keyFile: key } = await place.volume("apart.img", "apart", ["--header", header])
  const apart = ["--header", header]
  const uuid = (await ok("uuid", data, ...apart)).trim()
  assert.equal((await cryptsetup("luksUUID", header)).trim(), uuid)
  await ok("label", data, "apart", ...apart)
  assert.match(await cryptsetup("luksDump", header), /Label:\s+apart\n/)
  const theirs = JSON.parse(await cryptsetup("luksDump", header, "--dump-json-metadata"))
  assert.deepEqual(JSON.parse(await ok("dump", data, "--json", ...apart)).metadata, theirs)
  assert.deepEqual(
    JSON.parse(await ok("key", "list", data, "--json", ...apart)).map(({ slot }: { slot: number }) => slot),
    [0],
  )
  const [backup, stock] = [place.path("apart.bak"), place.path("apart-stock.bak")]
  await ok("header", "backup", data, backup, ...apart)
  await cryptsetup("luksHeaderBackup", header, "--header-backup-file", stock)
  assert.ok(readFileSync(backup).equals(readFileSync(stock)))

  await ok("open", data, "apart", "--key-file", key, ...apart)
  for (const args of [
    [data, backup, ...apart],
    [header, backup],
  ]) {
    refused(await place.tresor(["header", "restore", ...args, "--batch-mode"]), 5, /open as apart/)
  }
  await ok("close", "apart")

  const before = readFileSync(data)
  refused(await place.tresor(["header", "restore", data, backup, "--batch-mode"]), 4, /data of .* --header/)
  assert.ok(readFileSync(data).equals(before), "data were overwritten")

  const broken = openSync(header, "r+")
  writeSync(broken, Buffer.alloc(2048), 0, 2048, 0)
  closeSync(broken)
  assert.equal((await place.tresor(["check", data, ...apart])).code, 4)
  await ok("check", data, "--repair", "--batch-mode", ...apart)
  const wrecked = openSync(header, "r+")
  writeSync(wrecked, Buffer.alloc(2 * HEADER), 0, 2 * HEADER, 0)
  closeSync(wrecked)
  await ok("header", "restore", data, backup, "--batch-mode", ...apart)
  assert.ok(readFileSync(header).equals(readFileSync(backup)))
  await ok("open", data, "apart", "--key-file", key, ...apart)
  await ok("close", "apart")
})

test("resize follows the backing file as it grows", async () => {
  const { path: grown, keyFile: key } = await place.volume("grown.img", "grown")
  await ok("open", grown, "grown", "--key-file", key)
  truncateSync(grown, 48 << 20)
  await ok("resize", "grown")
  const socket = join(place.runtime, "grown", "nbd.sock")
  const size = await run("nbdinfo", ["--size", `nbd+unix:///?socket=${socket}`])
  assert.equal(size.stdout.trim(), String(32 << 20), size.stderr)
  await ok("close", "grown")
})

test("an open volume and its detached header are nobody else's: uuid, create, restore and a second open refuse", async () => {
  const header = place.path("held.hdr")
  const { path: data, keyFile: key } = await place.volume("held.img", "held", ["--header", header])
  const apart = ["--header", header]
  await ok("header", "backup", data, place.path("held.bak"), ...apart)
  await ok("open", data, "held", "--key-file", key, ...apart)
  const fresh = "11111111-2222-3333-4444-555555555555"
  const create = ["--size", "32M", "--key-file", key, "--no-recovery", "--force"]
  for (const args of [
    ["uuid", header, fresh],
    ["uuid", data, fresh, ...apart],
    ["create", data, ...apart, ...create],
    ["create", place.path("another.img"), ...apart, ...create],
    ["header", "restore", data, place.path("held.bak"), ...apart],
    ["open", data, "again", "--key-file", key, ...apart],
  ]) {
    refused(await place.tresor(args), 5, /^tresor: error: [^\n]*(open|in use) as held[^\n]*close it first\n$/)
  }
  // What changes no key and no place goes on meanwhile.
  await ok("label", header, "held")
  await ok("key", "add", header, "--key-file", key, "--new-key-file", place.file("held-second", "second"))
  await ok("close", "held")
  await ok("open", data, "held", "--key-file", place.path("held-second"), ...apart)
  await ok("close", "held")
})

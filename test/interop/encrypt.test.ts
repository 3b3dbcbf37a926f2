/** Encryption and decryption in place beside stock cryptsetup: each resumes what the other began, wherever it was cut off. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { chmodSync, copyFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { reencryptionOf } from "../../src/luks2/reencryption.ts"
import { decryptXts } from "../../src/testing/luks.ts"
import { Place, run, tresorPath } from "../cli/harness.ts"
import { isInZone, metadataOf, whereIn } from "./pass.ts"
import { CHEAP, programs } from "./programs.ts"

const place = new Place()
const SIZE = 12 << 20
const REDUCED = 4 << 20
/** Of the data of a volume with its header in front. */
const OFFSET = 4 << 20
const SECTOR = 512
const keyFile = place.file("key", "a passphrase")
const { ours, stock, volumeKey, cut } = programs(place, keyFile)
const noise = randomBytes(SIZE)
/** What the data are as plaintext. */
let plain: Buffer = noise

async function checkFails(args: readonly string[], exit: number, message: RegExp): Promise<void> {
  const { code, stderr } = await place.tresor(args)
  assert.equal(code, exit, stderr)
  assert.match(stderr, message)
}

/** What is converted and how: the files before, and the words that both programs take. */
interface Kind {
  readonly name: string
  readonly words: readonly string[]
  readonly header: string
  readonly data: string
  readonly resilience: "checksum" | "journal" | null
  /** Bytes of plaintext. */
  readonly size: number
  readonly make: () => Promise<void>
}

const [data, head] = [place.path("data.img"), place.path("data.header")]

function kinds(): Kind[] {
  const detached = (resilience: "checksum" | "journal") => ({
    header: head,
    data,
    resilience,
    size: SIZE,
  })
  const plainFile = async () => {
    rmSync(head, { force: true })
    writeFileSync(data, noise)
    plain = noise
  }
  const volume = async () => {
    rmSync(head, { force: true })
    writeFileSync(data, noise)
    const format = ["luksFormat", "-q", "--type", "luks2", ...CHEAP, "--sector-size", "512", "--key-file", keyFile]
    await stock(...format, "--header", head, data)
    plain = decryptXts(await volumeKey(head), 512, 0n, noise)
  }
  const inFront = async () => {
    rmSync(head, { force: true })
    writeFileSync(data, Buffer.concat([Buffer.alloc(OFFSET), noise]))
    const small = ["--offset", String(OFFSET / 512), "--luks2-metadata-size", "16k", "--luks2-keyslots-size", "2080768"]
    const format = ["luksFormat", "-q", "--type", "luks2", ...CHEAP, "--sector-size", "512", "--key-file", keyFile]
    await stock(...format, ...small, data)
    plain = decryptXts(await volumeKey(data), 512, 0n, noise)
  }
  const both = ["checksum", "journal"] as const
  return [
    ...both.map((each) => ({
      ...detached(each),
      name: `encryption with a detached header, resilience ${each}`,
      words: ["--encrypt", "--header", head],
      make: plainFile,
    })),
    {
      ...detached("checksum"),
      name: "encryption with --reduce-device-size",
      words: ["--encrypt", "--reduce-device-size", "4M"],
      header: data,
      resilience: null,
      size: SIZE - REDUCED,
      make: plainFile,
    },
    ...both.map((each) => ({
      ...detached(each),
      name: `decryption with a detached header, resilience ${each}`,
      words: ["--decrypt", "--header", head],
      make: volume,
    })),
    ...both.map((each) => ({
      ...detached(each),
      name: `decryption of a volume with its header in front, resilience ${each}`,
      words: ["--decrypt", "--header", head],
      make: inFront,
    })),
  ]
}

const where = ({ header, size }: Kind) => whereIn(header, size)

/** The plaintext is what it was; nothing speaks of a reencryption, and nobody complains. */
async function checkEnded(kind: Kind): Promise<void> {
  const { header, size, words } = kind
  const metadata = await metadataOf(header)
  const [segment] = metadata.segments.values()
  assert.deepEqual([metadata.config.requirements, metadata.segments.size], [[], 1])
  const bytes = readFileSync(data)
  if (words.includes("--decrypt")) {
    assert.deepEqual([segment!.type, metadata.keyslots.size, metadata.digests.size], ["linear", 0, 0])
    assert.ok(bytes.subarray(0, size).equals(plain), "the data are others")
    // Behind the plaintext of a volume whose header was in front, where its last data were.
    const last = noise.subarray(-SECTOR)
    assert.ok(!bytes.subarray(size).includes(last), "ciphertext is left")
  } else {
    const text = decryptXts(await volumeKey(header), segment!.sectorSize, 0n, bytes.subarray(Number(segment!.offset)))
    assert.ok(plain.subarray(0, size).equals(text.subarray(0, size)), "the data are others")
    await checkSound(kind)
  }
  await ours("check", ...headerWords(kind), data)
}

const headerWords = ({ header }: Kind): string[] => (header === data ? [] : ["--header", header])

async function checkSound(kind: Kind): Promise<void> {
  const { header } = kind
  for (const args of [
    ["luksDump", header],
    ["open", "--test-passphrase", "--key-file", keyFile, header],
  ]) {
    const { code, stderr } = await run("cryptsetup", args)
    assert.deepEqual([code, stderr], [0, ""], args.join(" "))
  }
  await ours("check", ...headerWords(kind), data)
  await ours("dump", ...headerWords(kind), data)
}

const resilienceWords = ({ resilience }: Kind): string[] => (resilience === null ? [] : ["--resilience", resilience])
const OURS = ["reencrypt", "-q", "--key-file", keyFile, "--hotzone-size", "512K", "--throttle", "5"]
const fresh = ({ words }: Kind): string[] =>
  words.includes("--encrypt") ? ["--portable", "--no-recovery", ...CHEAP] : []
const began = (kind: Kind): string[] => [...OURS, ...kind.words, ...resilienceWords(kind), ...fresh(kind), data]
const resumes = (kind: Kind): string[] => [
  "reencrypt",
  "-q",
  "--key-file",
  keyFile,
  "--resume",
  ...headerWords(kind),
  data,
]
const STOCK = ["reencrypt", "-q", "--key-file", keyFile, "--force-offline-reencrypt"]

/** Ends Tresor by a signal when so many bytes are converted, within a zone where it can be. Whether it had not ended. */
async function cutAt(
  args: readonly string[],
  { header, size }: Kind,
  signal: "SIGKILL" | "SIGTERM",
  bytes: number,
): Promise<boolean> {
  const ready = async () =>
    signal === "SIGKILL" ? isInZone(header, size, bytes) : ((await whereIn(header, size))?.bytes ?? -1) >= bytes
  await cut([tresorPath, ...args], signal, ready)
  return (await whereIn(header, size)) !== null
}

/** The same from the start; on a machine that is busy elsewhere, it may end before that is seen. */
async function cutOff(kind: Kind, signal: "SIGKILL" | "SIGTERM", bytes: number): Promise<void> {
  for (let tries = 0; tries < 10; tries++) {
    await kind.make()
    if (await cutAt(began(kind), kind, signal, bytes)) return
  }
  assert.fail("it had ended each time")
}

for (const kind of kinds()) {
  test(`${kind.name}: Tresor does it whole`, async () => {
    await kind.make()
    const said = await ours(...began(kind).filter((word) => word !== "--throttle" && word !== "5"))
    assert.match(
      said,
      kind.words.includes("--encrypt") ? /are encrypted\.\n$/ : /are decrypted\. Keyslot 0 .* destroyed/,
    )
    await checkEnded(kind)
  })

  test(`${kind.name}: cryptsetup repairs and resumes what Tresor left, and so does Tresor`, async () => {
    for (const [signal, at, resumer] of [
      ["SIGKILL", 3 << 20, "cryptsetup"],
      ["SIGTERM", 1 << 20, "cryptsetup"],
      ["SIGKILL", 4 << 20, "tresor"],
    ] as const) {
      await cutOff(kind, signal, at)
      const found = await where(kind)
      assert.ok(found !== null && !found.done)
      if (signal === "SIGTERM") assert.equal(found.hot, 0n)
      await checkSound(kind)
      if (resumer === "tresor") await ours(...resumes(kind))
      else {
        if (found.hot > 0n) await stock("repair", "-q", "--key-file", keyFile, ...headerWords(kind), data)
        await stock(...STOCK, "--resume-only", ...headerWords(kind), data)
      }
      await checkEnded(kind)
    }
  })

  test(`${kind.name}: Tresor resumes what cryptsetup left, cut off at any of its writes`, async () => {
    const library = place.path("kill-at-write.so")
    if (!existsSync(library)) {
      const source = fileURLToPath(new URL("kill-at-write.c", import.meta.url))
      const { code, stderr } = await run("cc", ["-shared", "-fPIC", "-o", library, source, "-ldl"])
      assert.equal(code, 0, stderr)
    }
    await kind.make()
    // Like ours, its header makes room for itself in the working directory.
    // A journal has room for so much, and cryptsetup does not choose by that.
    const zone = kind.resilience === "journal" ? ["--hotzone-size", "1M"] : []
    const init = [...STOCK, ...kind.words, ...resilienceWords(kind), ...zone, ...CHEAP, "--init-only", data]
    const { code, stderr } = await run("cryptsetup", init, { cwd: place.path("") })
    assert.equal(code, 0, stderr)
    const files = [...new Set([data, kind.header])]
    for (const file of files) copyFileSync(file, `${file}.begun`)
    const words = [...STOCK, "--resume-only", "--hotzone-size", "3M", ...headerWords(kind), data]
    const until = (at: number) =>
      run("cryptsetup", words, { env: { ...process.env, LD_PRELOAD: library, KILL_AT: String(at) } })
    const whole = await until(1 << 20)
    assert.equal(whole.code, 0, whole.stderr)
    const writes = Number(/writes (\d+)/.exec(whole.stderr)?.[1])
    assert.ok(writes > 20, whole.stderr)
    const CUTS = 5
    let pending = 0
    for (let n = 0; n < CUTS; n++) {
      for (const file of files) copyFileSync(`${file}.begun`, file)
      const killed = await until(Math.floor((writes * n) / CUTS))
      assert.equal(killed.code, 99, killed.stderr)
      if (reencryptionOf(await metadataOf(kind.header)) === null) continue
      pending++
      const resumed = await place.tresor(resumes(kind))
      // Cut off when the keyslot was destroyed and the header did not say so yet.
      const gone = resumed.code === 2 && /all data of .* are plaintext, .*: --authenticate ends/.test(resumed.stderr)
      if (gone) await ours(...resumes(kind), "--authenticate")
      else assert.equal(resumed.code, 0, resumed.stderr)
      await checkEnded(kind)
    }
    assert.ok(pending > CUTS / 2, `${pending} of ${CUTS} were pending`)
  })
}

const ENCRYPT = ["reencrypt", "--encrypt", "-q", "--key-file", keyFile, "--portable", "--no-recovery", ...CHEAP]

test("killed again and again, an encryption with --reduce-device-size goes on with the same command", async () => {
  const kind = kinds().find(({ name }) => name.includes("--reduce-device-size"))!
  await kind.make()
  let kills = 0
  while (kills < 3 && (await cutAt(began(kind), kind, "SIGKILL", kills * (2 << 20)))) kills++
  assert.ok(kills > 0, "it had ended")
  if (kills === 3) await ours(...began(kind))
  await checkEnded(kind)
})

test("a decryption that was cut off while its data took the header's place goes on with the same command", async () => {
  const kind = kinds().find(({ name }) => name.includes("header in front, resilience checksum"))!
  await kind.make()
  await ours("header", "backup", data, head)
  chmodSync(head, 0o600)
  const bytes = readFileSync(data)
  for (const copy of [0, 16384]) bytes.fill(0, copy, copy + 6)
  bytes.copy(bytes, 0, OFFSET, OFFSET + (1 << 20))
  writeFileSync(data, bytes)
  await ours(...began(kind))
  await checkEnded(kind)
})

test("a filesystem that reaches into the end is refused, one that was made smaller is encrypted, and stays whole", async () => {
  const path = place.file("filesystem.img", "")
  truncateSync(path, 24 << 20)
  const reduce = [...ENCRYPT, "--reduce-device-size", "8M", path]
  for (const [command, ...args] of [
    ["mkfs.ext4", "-q", "-F", path],
    ["mkfs.btrfs", "-q", "-f", "--mixed", path],
  ] as const) {
    const made = await run(command, args)
    if (command === "mkfs.btrfs" && made.code !== 0) continue
    assert.equal(made.code, 0, made.stderr)
    const bytes = readFileSync(path)
    await checkFails(
      reduce,
      4,
      /its filesystem \((ext2\/3\/4|btrfs)\) has \d+ bytes and 16777216 are left; shrink it first/,
    )
    assert.ok(bytes.equals(readFileSync(path)), "something was written")
  }
  const made = await run("mkfs.ext4", ["-q", "-F", path, "16M"])
  assert.equal(made.code, 0, made.stderr)
  const before = readFileSync(path)
  await ours(...reduce)
  const { offset } = (await metadataOf(path)).segments.get(0)!
  const text = decryptXts(await volumeKey(path), 512, 0n, readFileSync(path).subarray(Number(offset)))
  assert.ok(text.subarray(0, 16 << 20).equals(before.subarray(0, 16 << 20)))
  const image = place.file("decrypted.img", text)
  assert.equal((await run("e2fsck", ["-fn", image])).code, 0)
  // The start of the plaintext, which was kept in the end, is not left there.
  assert.ok(!readFileSync(path).includes(before.subarray(1024, 1024 + 512)))
})

test("what cannot be encrypted or decrypted in place is refused, and nothing is written", async () => {
  const path = place.file("refused.img", noise.subarray(0, 8 << 20))
  const refused = async (args: readonly string[], exit: number, message: RegExp) => {
    const before = readFileSync(path)
    await checkFails([...args, path], exit, message)
    assert.ok(before.equals(readFileSync(path)), "something was written")
  }
  const header = place.path("refused.header")
  await refused(
    ENCRYPT,
    1,
    /it needs one place for its header; name a file with --header, or with --reduce-device-size/,
  )
  await refused([...ENCRYPT, "--header", header, "--reduce-device-size", "4M"], 1, /it needs one place for its header/)
  await refused([...ENCRYPT, "--reduce-device-size", "1M"], 4, /--reduce-device-size takes 4M to 512M/)
  await refused([...ENCRYPT, "--reduce-device-size", "6M"], 4, /they must be more than 1.5 times --reduce-device-size/)
  await refused([...ENCRYPT, "--decrypt", "--header", header], 1, /--encrypt and --decrypt are opposites/)
  await refused([...ENCRYPT, "--resilience", "journal", "--reduce-device-size", "4M"], 1, /leave --resilience out/)
  await refused([...ENCRYPT, "--carry-key-file", keyFile, "--header", header], 1, /leave --carry-key-file out/)
  await refused([...ENCRYPT, "--header", path], 4, /overlaps with the data area/)
  await refused(["reencrypt", "-q", "--reduce-device-size", "4M"], 1, /it goes with --encrypt/)
  await refused(["reencrypt", "-q", "--portable"], 1, /they go with --encrypt/)
  const taken = place.file("taken.header", "somebody's")
  await refused([...ENCRYPT, "--header", taken], 5, /the file holds data/)
  assert.ok(!existsSync(header))
  writeFileSync(path, noise.subarray(0, 8 << 20))
  truncateSync(path, (8 << 20) + 100)
  await refused([...ENCRYPT, "--header", header], 4, /bytes of data are not a multiple of the sector size 512/)
  truncateSync(path, 8 << 20)
  await ours(...ENCRYPT, "--header", header, path)
  const key = ["-q", "--key-file", keyFile, "--header", header]
  const wrong = place.file("wrong", "wrong")
  await refused(["reencrypt", "--decrypt", "-q", "--key-file", wrong, "--header", header], 2, /No key available/)
  await refused(["reencrypt", "--decrypt", "--sector-size", "4096", ...key], 1, /there will be no key/)
  await ours("open", path, "busy", "--header", header, "--key-file", keyFile)
  await refused(["reencrypt", "--decrypt", ...key], 5, /it is open as busy; close it first/)
  await ours("close", "busy")
  await ours("reencrypt", "--decrypt", ...key, path)
  assert.ok(readFileSync(path).equals(noise.subarray(0, 8 << 20)))

  const front = place.file("front.img", "")
  truncateSync(front, 32 << 20)
  await ours("create", front, "--force", "--key-file", keyFile, "--portable", "--no-recovery", ...CHEAP)
  const bytes = readFileSync(front)
  const decrypt = ["reencrypt", "--decrypt", "-q", "--key-file"]
  await checkFails(
    [...decrypt, keyFile, front],
    4,
    /its header is in front of its data; name a new file for the header/,
  )
  // The file for the header does not stay where nothing was begun.
  const apart = place.path("front.header")
  await checkFails([...decrypt, wrong, "--header", apart, front], 2, /No key available/)
  assert.ok(!existsSync(apart))
  await ours("open", front, "busy", "--key-file", keyFile)
  await checkFails([...decrypt, keyFile, "--header", apart, front], 5, /it is open as busy; close it first/)
  const name =
    /Cannot decrypt busy: it is open; `tresor close busy`, then name its file or device: `tresor reencrypt --decrypt PATH`/
  await checkFails([...decrypt, keyFile, "busy"], 5, name)
  await checkFails(["reencrypt", "--encrypt", "-q", "busy"], 5, /Cannot encrypt busy: it is open; `tresor close busy`/)
  await ours("close", "busy")
  assert.ok(!existsSync(apart))
  // One of before, which no longer opens what the device's header does.
  await ours("header", "backup", front, apart)
  chmodSync(apart, 0o600)
  const added = ["key", "add", front, "--key-file", keyFile, "--new-key-file", wrong, "--portable", ...CHEAP]
  await ours(...added)
  const now = readFileSync(front)
  await checkFails(
    [...decrypt, keyFile, "--header", apart, front],
    4,
    /in front of its data is not the header that --header/,
  )
  assert.ok(now.equals(readFileSync(front)))
  writeFileSync(front, bytes)
  await checkFails([...ENCRYPT, "--header", header, front], 4, /it holds .*LUKS.* already/)
  assert.ok(bytes.equals(readFileSync(front)))
})

test("at a terminal it says what is lost, and nothing happens without a yes", async () => {
  const path = place.file("asked.img", noise)
  const words = ["reencrypt", "--encrypt", "--no-recovery", ...CHEAP, "--reduce-device-size", "4M", path]
  const refused = await place.typed(words, [["Are you sure?", "no\r"]])
  assert.equal(refused.code, 2, refused.stdout)
  assert.match(refused.stdout, /The last 4 MiB of .* are lost\./)
  assert.match(refused.stdout, /The size of what is on .* is not known, and its last 4 MiB are not empty\./)
  assert.ok(noise.equals(readFileSync(path)), "something was written")
  const done = await place.typed(words, [
    ["Are you sure?", "YES\r"],
    ["Enter passphrase for", "a passphrase\r"],
    ["Verify", "a passphrase\r"],
  ])
  assert.equal(done.code, 0, done.stdout)
  assert.match(done.stdout, /are encrypted\./)
  await ours("open", "--test-passphrase", "--key-file", keyFile, path)
})

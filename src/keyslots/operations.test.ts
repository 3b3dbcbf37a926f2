import assert from "node:assert/strict"
import { test } from "node:test"
import { readBytes } from "../header/bytes.ts"
import { HeaderStore } from "../header/header-store.ts"
import type { ForeignToken, LuksKeyslot, Metadata } from "../luks2/metadata.ts"
import { isTresorToken } from "../luks2/tresor-token.ts"
import type { Kdf } from "../luks2/types.ts"
import { CrashingStore } from "../testing/crashing-store.ts"
import { FakeEnclave } from "../testing/fake-enclave.ts"
import { addKeyslot, addKeyslots } from "./add.ts"
import { adopt } from "./adopt.ts"
import { authenticateHeader } from "./authenticate.ts"
import { changeKeyslot } from "./change.ts"
import { DATA_OFFSET, HEADER_SIZE, makeVolume, type NewVolume, writeVolume } from "./create.ts"
import { isLuksKeyslot, slotsOfTokens, tresorToken, volumeSlots } from "./metadata-edit.ts"
import type { FreshKeyslot, VolumeKeeper } from "./parts.ts"
import { proveKeyslot } from "./prove.ts"
import { recover, recoverySlots, testRecovery } from "./recover.ts"
import { release, releasePlan } from "./release.ts"
import { removeKeyslot } from "./remove.ts"
import { wipeKeyslots } from "./wipe.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const KDF: Kdf = { type: "pbkdf2", hash: "sha256", iterations: 1000 }
const NEW: NewVolume = {
  uuid: "11111111-2222-4333-8444-555555555555",
  label: "test",
  sectorSize: 512,
  keySize: 64,
  detached: false,
  headerSize: HEADER_SIZE,
}

const tresor = (secret: string, slot: number | null = null): FreshKeyslot => ({
  type: "tresor",
  secret: bytes(secret),
  slot,
  kdf: KDF,
  policy: "mrsigner",
})
const portable = (secret: string, slot: number | null = null): FreshKeyslot => ({
  type: "portable",
  secret: bytes(secret),
  slot,
  kdf: KDF,
})
const recovery = (secret: string): FreshKeyslot => ({ type: "recovery", secret: bytes(secret), slot: null })

interface Volume extends VolumeKeeper {
  readonly enclave: FakeEnclave
  readonly device: CrashingStore
}

async function newVolume(
  keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]] = [tresor("first"), recovery("key")],
  volume: Partial<NewVolume> = {},
): Promise<Volume> {
  const enclave = new FakeEnclave()
  const device = new CrashingStore(Number(DATA_OFFSET))
  const made = await makeVolume({ enclave, seal: enclave.seal }, { ...NEW, ...volume }, keyslots, "test.img")
  await writeVolume(device, made, { wipeOld: false, progress() {} })
  return { enclave, device, seal: enclave.seal, store: await HeaderStore.open(device), path: "test.img" }
}

/** The same disk in another machine, or under another enclave. */
async function moved(volume: Volume, enclave: FakeEnclave): Promise<Volume> {
  return { ...volume, enclave, seal: enclave.seal, store: await HeaderStore.open(volume.device) }
}

const opens = (volume: VolumeKeeper, secret: string, slot: number | null = null) =>
  proveKeyslot(volume, { secret: bytes(secret), slot })
const proof = (secret: string, slot: number | null = null) => ({ secret: bytes(secret), slot })

/** What must hold after every operation. */
async function consistent({ store, enclave }: Volume): Promise<Metadata> {
  const { metadata } = await store.reload()
  const tokens = [...metadata.tokens.values()].filter(isTresorToken)
  const [first] = tokens
  for (const token of tokens) {
    assert.deepEqual(token.mac, first!.mac, "all tresor tokens carry the same MACs")
    assert.deepEqual(
      [...token.mac.keyslots.keys()].sort((a, b) => a - b),
      volumeSlots(metadata),
    )
  }
  assert.equal(enclave.open, 0, "no key stays in the enclave")
  return metadata
}

test("a new volume opens with its passphrase and its recovery key, laid out as cryptsetup would", async () => {
  const volume = await newVolume()
  assert.equal(await opens(volume, "first"), 0)
  assert.equal(await opens(volume, "key"), 1)
  await assert.rejects(opens(volume, "other"), { code: "ENCLAVE_PASSPHRASE", exitCode: 2 })
  const metadata = await consistent(volume)
  const segment = metadata.segments.get(0)!
  assert.deepEqual(
    [segment.type, segment.offset, segment.size, segment.ivTweak, segment.encryption],
    ["crypt", DATA_OFFSET, null, 0n, "aes-xts-plain64"],
  )
  assert.equal(metadata.config.keyslotsSize + 2n * BigInt(HEADER_SIZE), DATA_OFFSET)
  assert.deepEqual(slotsOfTokens(metadata, "tresor"), [0])
  assert.deepEqual(slotsOfTokens(metadata, "systemd-recovery"), [1])
  assert.ok(volume.store.header.sequenceId > 0n)
})

test("the header has room for 32 Tresor passphrases", async () => {
  const volume = await newVolume([tresor("0")])
  const more = Array.from({ length: 31 }, (_, i) => tresor(String(i + 1)))
  await addKeyslots(volume, proof("0"), more)
  const metadata = await consistent(volume)
  assert.equal(volumeSlots(metadata).length, 32)
  assert.equal(await opens(volume, "31", 31), 31)
  await assert.rejects(addKeyslot(volume, proof("0", 0), portable("x")), { code: "KEYSLOTS_FULL", exitCode: 1 })
})

test("cryptsetup's 16 KiB run full: nothing changes, and the way out is named", async () => {
  const volume = await newVolume([tresor("0")], { headerSize: 16 << 10 })
  let added = 0
  const before = async () => Buffer.from(await readBytes(volume.device, 0, 1 << 20))
  let last = await before()
  await assert.rejects(
    async () => {
      for (; ; added++) {
        await addKeyslot(volume, proof("0", 0), tresor(`more ${added}`))
        last = await before()
      }
    },
    { code: "LUKS2_METADATA_FULL", exitCode: 4, message: /remove a keyslot|--portable/ },
  )
  assert.ok(added >= 3 && added < 31)
  assert.ok((await before()).equals(last))
  assert.equal(await opens(volume, "more 0"), 1)
})

test("a keyslot is added where it is wanted, after a passphrase of the slot named", async () => {
  const volume = await newVolume()
  assert.deepEqual(await addKeyslot(volume, proof("first", 0), portable("second", 7)), { slot: 7, proved: 0 })
  assert.equal(await opens(volume, "second"), 7)
  await consistent(volume)
  await assert.rejects(addKeyslot(volume, proof("first"), portable("x", 7)), { code: "KEYSLOT_TAKEN" })
  await assert.rejects(addKeyslot(volume, proof("first", 1), portable("x")), { code: "ENCLAVE_PASSPHRASE" })
  await assert.rejects(addKeyslot(volume, proof("first", 9), portable("x")), { code: "KEYSLOT_INACTIVE" })
})

test("changed: the old passphrase opens nothing, its area is wiped, its priority is inherited", async () => {
  const volume = await newVolume()
  await volume.store.update(async (header) => {
    const keyslot = header.metadata.keyslots.get(0) as LuksKeyslot
    const keyslots = new Map([...header.metadata.keyslots, [0, { ...keyslot, priority: 2 }]] as const)
    return { header: { ...header, metadata: { ...header.metadata, keyslots } } }
  })
  const { area } = volume.store.header.metadata.keyslots.get(0) as LuksKeyslot
  const old = Buffer.from(await readBytes(volume.device, Number(area.offset), Number(area.size)))
  assert.deepEqual(await changeKeyslot(volume, proof("first"), tresor("second")), { slot: 2, removed: 0 })
  await assert.rejects(opens(volume, "first"), { code: "ENCLAVE_PASSPHRASE" })
  assert.equal(await opens(volume, "second"), 2)
  assert.equal(await opens(volume, "key"), 1)
  const metadata = await consistent(volume)
  assert.equal((metadata.keyslots.get(2) as LuksKeyslot).priority, 2)
  assert.equal(tresorToken(metadata, 0), null)
  const now = Buffer.from(await readBytes(volume.device, Number(area.offset), Number(area.size)))
  for (let at = 0; at < 64 * 4000; at += 512) {
    assert.ok(!now.subarray(at, at + 512).equals(old.subarray(at, at + 512)), `old key material at ${at}`)
  }
})

test("removed: its passphrase opens nothing, its area is wiped, its token and MAC are gone", async () => {
  const volume = await newVolume()
  await addKeyslot(volume, proof("first"), tresor("second"))
  const removed = await removeKeyslot(volume, bytes("second"), { slot: null, force: false })
  assert.deepEqual(removed, { slot: 2, remaining: [0, 1], boundToMachine: false })
  await assert.rejects(opens(volume, "second"), { code: "ENCLAVE_PASSPHRASE" })
  // Any passphrase proves for any keyslot; a recovery key's mark goes with its slot.
  const second = await removeKeyslot(volume, bytes("first"), { slot: 1, force: false })
  assert.deepEqual(second, { slot: 1, remaining: [0], boundToMachine: true })
  const metadata = await consistent(volume)
  assert.deepEqual(
    [...metadata.tokens.values()].map(({ type }) => type),
    ["tresor"],
  )
})

test("the last keyslot goes only by force, and never without its passphrase", async () => {
  const volume = await newVolume([tresor("only")])
  const last = { code: "KEYSLOT_LAST", exitCode: 1, message: /lost.*--force/ }
  await assert.rejects(removeKeyslot(volume, bytes("only"), { slot: null, force: false }), last)
  await assert.rejects(removeKeyslot(volume, bytes("only"), { slot: 0, force: false }), last)
  await assert.rejects(removeKeyslot(volume, bytes("wrong"), { slot: 0, force: true }), { code: "ENCLAVE_PASSPHRASE" })
  const removed = await removeKeyslot(volume, bytes("only"), { slot: 0, force: true })
  assert.deepEqual(removed.remaining, [])
  assert.equal((await volume.store.reload()).metadata.keyslots.size, 0)
  await assert.rejects(opens(volume, "only"), { code: "KEYSLOT_MISSING" })
})

test("priority 0: tried only when named", async () => {
  const volume = await newVolume()
  await addKeyslot(volume, proof("first"), portable("quiet", 5))
  await volume.store.update(async (header) => {
    const keyslot = header.metadata.keyslots.get(5) as LuksKeyslot
    const keyslots = new Map([...header.metadata.keyslots, [5, { ...keyslot, priority: 0 }]] as const)
    return { header: { ...header, metadata: { ...header.metadata, keyslots } } }
  })
  await assert.rejects(opens(volume, "quiet"), { code: "ENCLAVE_PASSPHRASE" })
  assert.equal(await opens(volume, "quiet", 5), 5)
})

/** Tokens as another program leaves them. */
async function addForeign(volume: Volume, number: number, token: ForeignToken): Promise<void> {
  await volume.store.update(async (header) => {
    const tokens = new Map([...header.metadata.tokens, [number, token]] as const)
    return { header: { ...header, metadata: { ...header.metadata, tokens } } }
  })
}

test("adopt and release leave a volume of cryptsetup's as it was", async () => {
  const volume = await newVolume([portable("theirs"), portable("more")])
  await addForeign(volume, 3, { type: "systemd-tpm2", keyslots: [1], foreign: true })
  const { metadata: before } = await volume.store.reload()
  const added = await adopt(volume, proof("theirs"), [
    tresor("ours"),
    { ...recovery("key"), adopted: true } as FreshKeyslot,
  ])
  assert.deepEqual(added, [
    { slot: 2, proved: 0 },
    { slot: 3, proved: 0 },
  ])
  await consistent(volume)
  assert.equal(await opens(volume, "ours"), 2)
  assert.equal(await opens(volume, "key"), 3)
  await assert.rejects(adopt(volume, proof("theirs"), [tresor("x")]), { code: "ADOPTED_ALREADY", exitCode: 5 })
  // What goes proves nothing: its owner could be locked out.
  await assert.rejects(release(volume, bytes("ours")), { code: "ENCLAVE_PASSPHRASE" })
  await assert.rejects(release(volume, bytes("key")), { code: "ENCLAVE_PASSPHRASE" })
  assert.deepEqual(await release(volume, bytes("theirs")), { removed: [2, 3], remaining: [0, 1] })
  assert.deepEqual((await volume.store.reload()).metadata, before)
})

test("release keeps a recovery key that adopt did not make, and a way in", async () => {
  const volume = await newVolume([portable("theirs"), recovery("their key")])
  await adopt(volume, proof("theirs"), [tresor("ours")])
  assert.deepEqual((await release(volume, bytes("theirs"))).removed, [2])
  assert.equal(await opens(volume, "their key"), 1)
  const own = await newVolume([tresor("first")])
  assert.throws(() => releasePlan(own.store.header, own.path), { code: "NOTHING_REMAINS", message: /--portable/ })
  const none = await newVolume([portable("theirs")])
  assert.throws(() => releasePlan(none.store.header, none.path), { code: "NOT_ADOPTED" })
})

test("another program's token loses a removed keyslot and nothing else", async () => {
  const volume = await newVolume([tresor("first"), portable("second"), portable("third")])
  await addForeign(volume, 9, { type: "clevis", keyslots: [1, 2], foreign: true })
  await removeKeyslot(volume, bytes("first"), { slot: 1, force: false })
  assert.deepEqual((await consistent(volume)).tokens.get(9)!.keyslots, [2])
  await removeKeyslot(volume, bytes("first"), { slot: 2, force: false })
  assert.deepEqual((await consistent(volume)).tokens.get(9)!.keyslots, [])
})

test("a seal that does not open is explained, and the recovery key named; a right passphrase elsewhere still opens", async () => {
  const volume = await newVolume([tresor("first")])
  const elsewhere = await moved(volume, new FakeEnclave({ machine: "other" }))
  await assert.rejects(opens(elsewhere, "first"), {
    code: "ENCLAVE_SEAL_MACHINE",
    exitCode: 2,
    message: /keyslot 0: .*another machine.*tresor recover test\.img/,
  })
  await addKeyslot(volume, proof("first"), portable("second"))
  assert.equal(await opens(await moved(volume, elsewhere.enclave), "second"), 1)
  await assert.rejects(opens(elsewhere, "first"), {
    code: "ENCLAVE_SEAL_MACHINE",
    message: /keyslot 0 cannot be unsealed/,
  })

  const newer = await newVolume([tresor("first")])
  const upgraded = await moved(newer, new FakeEnclave({ isvSvn: 3 }))
  await addKeyslot(upgraded, proof("first"), tresor("second"))
  const downgraded = await moved(newer, new FakeEnclave({ isvSvn: 2 }))
  await assert.rejects(opens(downgraded, "second", 1), {
    code: "ENCLAVE_SEAL_VERSION",
    message: /ISVSVN 3, this enclave has 2/,
  })
})

test("a damaged seal is named and never overwritten", async () => {
  const volume = await newVolume([tresor("first")])
  await volume.store.update(async (header) => {
    const token = tresorToken(header.metadata, 0)!
    const sealed = token.sealed.slice()
    sealed[700]! ^= 1
    const tokens = new Map([[0, { ...token, sealed }]])
    return { header: { ...header, metadata: { ...header.metadata, tokens } } }
  })
  const before = tresorToken(volume.store.header.metadata, 0)!.sealed
  await assert.rejects(opens(volume, "first"), { code: "ENCLAVE_SEAL_DAMAGED", exitCode: 4 })
  await assert.rejects(changeKeyslot(volume, proof("first"), tresor("second")), { code: "ENCLAVE_SEAL_DAMAGED" })
  assert.deepEqual(tresorToken((await volume.store.reload()).metadata, 0)!.sealed, before)
})

test("the recovery key says what the others are worth and sets a passphrase on a new machine", async () => {
  const volume = await newVolume()
  await addKeyslot(volume, proof("first"), portable("weak"))
  const here = await moved(volume, new FakeEnclave({ machine: "new board" }))
  assert.deepEqual(recoverySlots(here.store.header), [1])
  await assert.rejects(testRecovery(here, bytes("wrong")), { code: "ENCLAVE_PASSPHRASE" })
  // A passphrase of another keyslot is no recovery key.
  await assert.rejects(testRecovery(here, bytes("weak")), { code: "ENCLAVE_PASSPHRASE" })
  const report = await testRecovery(here, bytes("key"))
  assert.equal(report.slot, 1)
  assert.deepEqual(
    report.others.map(({ slot, kind, strength, seal }) => [slot, kind, strength, seal]),
    [
      [0, "tresor", "strong", "seal_machine"],
      [2, "portable", "weak", null],
    ],
  )
  assert.deepEqual((await testRecovery(volume, bytes("key"))).others[0]!.seal, "opens")
  const { slot } = await recover(here, { key: bytes("key"), slot: report.slot }, tresor("new"))
  assert.equal(await opens(here, "new"), slot)
  // The old machine's keyslot stays what it was.
  assert.equal(await opens(volume, "first"), 0)
})

test("wipe destroys every keyslot and overwrites the whole keyslots area", async () => {
  const volume = await newVolume()
  await addForeign(volume, 5, { type: "clevis", keyslots: [0], foreign: true })
  const from = 2 * HEADER_SIZE
  const before = Buffer.from(await readBytes(volume.device, from, 2 << 20))
  assert.deepEqual(await wipeKeyslots(volume), [0, 1])
  const { metadata } = await volume.store.reload()
  assert.deepEqual([metadata.keyslots.size, [...metadata.tokens.values()].map(({ type }) => type)], [0, ["clevis"]])
  const after = Buffer.from(await readBytes(volume.device, from, 2 << 20))
  for (let at = 0; at < 2 * 258048; at += 512) {
    const old = before.subarray(at, at + 512)
    if (old.some((byte) => byte !== 0)) assert.ok(!after.subarray(at, at + 512).equals(old))
  }
})

test("a header edited by hand is refused, whoever proves; a passphrase vouches for it", async () => {
  const volume = await newVolume()
  await volume.store.update(async (header) => {
    const segment = header.metadata.segments.get(0)!
    const segments = new Map([[0, { ...segment, ivTweak: 8n }]])
    return { header: { ...header, metadata: { ...header.metadata, segments } } }
  })
  const refused = { code: "ENCLAVE_HEADER", exitCode: 4 }
  await assert.rejects(opens(volume, "first"), refused)
  await assert.rejects(addKeyslot(volume, proof("first"), portable("x")), refused)
  await assert.rejects(removeKeyslot(volume, bytes("first"), { slot: 1, force: false }), refused)
  await assert.rejects(authenticateHeader(volume, proof("wrong")), { code: "ENCLAVE_PASSPHRASE" })
  await authenticateHeader(volume, proof("first"))
  assert.equal(await opens(volume, "first"), 0)
  await consistent(volume)
  const plain = await newVolume([portable("theirs")])
  await assert.rejects(authenticateHeader(plain, proof("theirs")), { code: "NOT_AUTHENTICATED", exitCode: 1 })
})

/** As somebody edits a header on disk. */
async function edited({ store }: Volume, change: (metadata: Metadata) => Metadata): Promise<void> {
  await store.update(async (header) => ({ header: { ...header, metadata: change(header.metadata) } }))
}

/** Each of `slots` asks for hours. */
const costly =
  (slots: readonly number[], iterations = 2 ** 32 - 1) =>
  (metadata: Metadata): Metadata => ({
    ...metadata,
    keyslots: new Map(
      [...metadata.keyslots].map(([slot, each]) => {
        if (!slots.includes(slot) || !isLuksKeyslot(each)) return [slot, each] as const
        return [
          slot,
          { ...each, kdf: { type: "pbkdf2", hash: "sha256", iterations, salt: each.kdf.salt } as const },
        ] as const
      }),
    ),
  })

test("a keyslot that would take hours is not tried to remove, release or recover another, and can be removed itself", async () => {
  const way = /keyslots? 0.* not tried: its KDF asks for 4294967295 iterations/
  const volume = await newVolume([tresor("first"), recovery("key"), portable("third")])
  await edited(volume, costly([0]))
  const wrong = { code: "ENCLAVE_PASSPHRASE", message: way }
  await assert.rejects(removeKeyslot(volume, bytes("nobody's"), { slot: 2, force: false }), wrong)
  await assert.rejects(removeKeyslot(volume, bytes("nobody's"), { slot: 0, force: false }), wrong)
  const { others } = await testRecovery(volume, bytes("key"))
  assert.deepEqual(
    others.map(({ slot, seal }) => [slot, seal]),
    [
      [0, "untried"],
      [2, null],
    ],
  )
  assert.equal((await removeKeyslot(volume, bytes("third"), { slot: 0, force: false })).slot, 0)

  const left = await newVolume([portable("theirs")])
  await adopt(left, proof("theirs"), [tresor("ours")])
  await edited(left, costly([0]))
  await assert.rejects(release(left, bytes("theirs")), { code: "KEYSLOT_COSTLY", message: way })
})

test("a keyslot that would take hours is tried only when it is named", async () => {
  const volume = await newVolume()
  const iterations = 2 ** 32 - 1
  await edited(volume, costly([0]))
  assert.equal(await opens(volume, "key"), 1)
  const way = /keyslot 0 not tried: its KDF asks for 4294967295 iterations.*use --key-slot 0 to try it/
  await assert.rejects(opens(volume, "first"), { code: "ENCLAVE_PASSPHRASE", message: way })
  // Named, it is tried: with other parameters it opens for nobody, which is another matter.
  await assert.rejects(opens(volume, "first", 0), { code: "ENCLAVE_PASSPHRASE", message: /^No key available/ })
  await edited(volume, costly([0, 1]))
  await assert.rejects(opens(volume, "key"), { code: "KEYSLOT_COSTLY", message: /keyslots 0, 1 not tried/ })
  await edited(volume, (metadata) => ({
    ...metadata,
    digests: new Map([...metadata.digests].map(([n, digest]) => [n, { ...digest, iterations }])),
  }))
  await assert.rejects(opens(volume, "key"), { code: "KEYSLOT_COSTLY", message: /its digest asks for 4294967295/ })
})

test("a volume whose tokens were removed opens with its recovery key only", async () => {
  const volume = await newVolume()
  await edited(volume, (metadata) => ({
    ...metadata,
    tokens: new Map([...metadata.tokens].filter(([, token]) => !isTresorToken(token))),
  }))
  // Without its token the sealed keyslot is cryptsetup's to try, and opens for nobody.
  await assert.rejects(opens(volume, "first"), { code: "ENCLAVE_PASSPHRASE" })
  assert.equal(await opens(volume, "key"), 1)
})

test("authenticate says whether there was anything to compare with", async () => {
  const volume = await newVolume()
  assert.deepEqual(await authenticateHeader(volume, proof("first")), { macsMissing: false })
})

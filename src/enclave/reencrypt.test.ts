/** REENCRYPT, ZONE and CONVERT of the image as it is built, beside node:crypto. */
import assert from "node:assert/strict"
import { createCipheriv, createHash, pbkdf2Sync, randomBytes } from "node:crypto"
import { after, test } from "node:test"
import type { Digest, Header, Segment } from "../luks2/types.ts"
import { createEnclave } from "../native/addon.ts"
import { decryptXts, volumeKeyOf } from "../testing/luks.ts"
import { passphrase, SLOT, seal, startImage, UUID } from "../testing/real-image.ts"
import { EnclaveError } from "./error.ts"
import { isPlain, keyed } from "./marshal.ts"
import type { BegunPass, Pass, PassProgress } from "./types.ts"

const client = await startImage(createEnclave, "software")
after(() => client.close())

async function volume(slot: number, changes: Partial<Segment> = {}): Promise<Header> {
  const segment: Segment = {
    cipher: "aes-xts-plain64",
    sectorSize: 512,
    keySize: 64,
    offset: 16n << 20n,
    size: null,
    ivTweak: 0n,
    ...changes,
  }
  const parameters = { ...SLOT, slot, keySize: segment.keySize, areaOffset: BigInt(32768 + slot * 258048) }
  const wanted = { uuid: UUID, segment, digest: { hash: "sha256", iterations: 1000 } } as const
  const asked = { purpose: "create", ...wanted, fresh: parameters, policy: "mrsigner" } as const
  const { digest, keyslot, macs } = await client.create(
    await seal(client, asked, { fresh: passphrase }),
    wanted,
    parameters,
    "mrsigner",
  )
  return { uuid: UUID, segment, digest, keyslots: [{ ...parameters, ...keyslot, tried: true }], macs }
}

const keyOf = ({ keyslots, digest }: Header): Buffer => volumeKeyOf(keyslots[0]!, digest, passphrase)
const NOTHING: PassProgress = { position: 0n, hot: 0n, probe: new Uint8Array(32) }
const AREA = { resilience: "checksum", block: 4096, offset: 1n << 20n, size: 1n << 20n } as const

async function begin(pass: Pass, secret: Uint8Array = passphrase): Promise<BegunPass> {
  return client.reencrypt(await seal(client, { purpose: "reencrypt", pass }, { existing: secret }), pass)
}

const refused = (status: string) => (error: unknown) => {
  assert.ok(error instanceof EnclaveError, String(error))
  assert.equal(error.status, status)
  return true
}

function encryptXts(key: Uint8Array, sectorSize: number, first: bigint, input: Uint8Array): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < input.length; at += sectorSize) {
    const iv = Buffer.alloc(16)
    iv.writeBigUInt64LE(first + BigInt(at / 512))
    const cipher = createCipheriv(key.length === 64 ? "aes-256-xts" : "aes-128-xts", key, iv)
    parts.push(cipher.update(input.subarray(at, at + sectorSize)))
  }
  return Buffer.concat(parts)
}

const previous = await volume(0)
const final = await volume(1, { sectorSize: 4096, keySize: 32 })
/** Of one key after the other. */
type Keys = Pass & { readonly previous: Header; readonly final: Header }
const started: Keys = { previous, final, moved: null, area: AREA, progress: NOTHING, use: "convert", resumed: null }

test("a pass turns ciphertext of the old key into that of the new, with other sectors and another key size", async () => {
  const { handle, slot } = await begin(started)
  assert.equal(slot, 1)
  const plain = randomBytes(16384)
  const old = new Uint8Array(encryptXts(keyOf(previous), 512, 8n, plain))
  const fresh = new Uint8Array(old.length)
  client.zone(handle, 65536n, NOTHING.probe)
  await client.convert(handle, [{ input: old, output: fresh, sector: 8n }])
  assert.deepEqual(decryptXts(keyOf(final), 4096, 8n, fresh), plain)
  const inPlace = new Uint8Array(encryptXts(keyOf(previous), 512, 64n, plain))
  await client.convert(handle, [{ input: inPlace, output: inPlace, sector: 64n }])
  assert.deepEqual(decryptXts(keyOf(final), 4096, 64n, inPlace), plain)
  client.closeVolume(handle)
  assert.throws(() => client.zone(handle, 0n, NOTHING.probe), refused("handle"))
})

test("each range is converted once, ascending, within the hot zone, in whole sectors of both sizes", async () => {
  const { handle } = await begin(started)
  const bytes = (size: number) => new Uint8Array(size)
  const convert = (sector: bigint, size = 4096) =>
    client.convert(handle, [{ input: bytes(size), output: bytes(size), sector }])
  await assert.rejects(convert(0n), refused("request"), "before a zone is open")
  client.zone(handle, 16384n, NOTHING.probe)
  assert.throws(() => client.zone(handle, 16384n, NOTHING.probe), refused("request"), "a zone in a zone")
  await assert.rejects(convert(1n), refused("request"), "unaligned")
  await assert.rejects(convert(0n, 512), refused("request"), "half a sector")
  await assert.rejects(convert(24n, 8192), refused("request"), "past the zone's end")
  await assert.rejects(convert((1n << 55n) + 8n), refused("request"), "an offset that wraps")
  await convert(8n)
  await assert.rejects(convert(8n), refused("request"), "once more")
  await assert.rejects(convert(0n), refused("request"), "backwards")
  await convert(16n)
  client.zone(handle, 0n, NOTHING.probe)
  await assert.rejects(convert(24n), refused("request"), "after the zone is closed")
  assert.throws(() => client.zone(handle, 512n, NOTHING.probe), refused("request"), "half a sector")
  client.zone(handle, 4096n, NOTHING.probe)
  await assert.rejects(convert(24n), refused("request"), "a zone that is done")
  await convert(32n)
  client.closeVolume(handle)
})

test("no zone reaches past a volume of fixed size", async () => {
  const fixed = { size: 1n << 20n }
  const pass = { ...started, previous: await volume(0, fixed), final: await volume(1, fixed) }
  const { handle } = await begin(pass)
  assert.throws(() => client.zone(handle, (1n << 20n) + 4096n, NOTHING.probe), refused("request"))
  client.zone(handle, 1n << 20n, NOTHING.probe)
  client.zone(handle, 0n, NOTHING.probe)
  assert.throws(() => client.zone(handle, 4096n, NOTHING.probe), refused("request"))
  client.closeVolume(handle)
})

test("the handle of a pass that serves decrypts and encrypts by where a sector lies, and nothing in the hot zone", async () => {
  const { handle } = await begin({ ...started, use: "both" })
  const plain = randomBytes(32768)
  const [o, n] = [keyOf(previous), keyOf(final)]
  const read = (input: Uint8Array, sector: bigint, decrypt = true): Uint8Array => {
    const output = new Uint8Array(input.length)
    client.sectors(handle, decrypt, [{ input: new Uint8Array(input), output, sector }])
    return output
  }
  assert.deepEqual(Buffer.from(read(encryptXts(o, 512, 0n, plain), 0n)), plain, "all of it by the old key")
  client.zone(handle, 16384n, NOTHING.probe)
  for (const [sector, size] of [
    [0n, 4096],
    [24n, 4096],
    [24n, 8192],
    [0n, 32768],
  ] as const) {
    assert.throws(() => read(new Uint8Array(size), sector), refused("request"), `${sector}+${size}`)
  }
  assert.deepEqual(Buffer.from(read(encryptXts(o, 512, 32n, plain), 32n)), plain, "behind the zone")
  client.zone(handle, 0n, NOTHING.probe)
  assert.deepEqual(Buffer.from(read(encryptXts(n, 4096, 0n, plain.subarray(0, 16384)), 0n)), plain.subarray(0, 16384))
  const across = Buffer.concat([
    encryptXts(n, 4096, 0n, plain.subarray(0, 16384)),
    encryptXts(o, 512, 32n, plain.subarray(16384)),
  ])
  assert.deepEqual(Buffer.from(read(across, 0n)), plain, "across the position")
  assert.deepEqual(Buffer.from(read(plain, 0n, false)), across, "the same written")
  assert.throws(() => read(new Uint8Array(512), 0n), refused("request"), "sectors of the smaller size")
  assert.throws(() => read(new Uint8Array(4096), 1n), refused("request"), "unaligned")
  assert.throws(() => read(new Uint8Array(4096), 1n << 55n), refused("request"), "an offset that wraps")
  const [input, output] = [new Uint8Array(4096), new Uint8Array(4096)]
  const block = { input, output, handle, mode: "xts", decrypt: true, iv: new Uint8Array(16) } as const
  assert.throws(() => client.blocks([block]), refused("handle"))
  client.closeVolume(handle)
})

test("a pass that only serves ends the zone that is hot, and opens none", async () => {
  const first = await begin(started)
  const hot: PassProgress = { position: 0n, hot: 8192n, probe: NOTHING.probe }
  const mac = client.zone(first.handle, hot.hot, hot.probe)
  client.closeVolume(first.handle)
  const { verification } = first
  const pass: Pass = { ...started, progress: hot, use: "serve", resumed: { verification, mac } }
  const { handle } = await begin(pass)
  const bytes = () => new Uint8Array(4096)
  assert.throws(() => client.zone(handle, 4096n, NOTHING.probe), refused("request"))
  await client.convert(handle, [{ input: bytes(), output: bytes(), sector: 8n }])
  const closed = client.zone(handle, 0n, NOTHING.probe)
  assert.throws(() => client.zone(handle, 4096n, NOTHING.probe), refused("request"))
  await assert.rejects(client.convert(handle, [{ input: bytes(), output: bytes(), sector: 16n }]), refused("request"))
  // With another probe it is another state; the position stays.
  const probe = new Uint8Array(32).fill(7)
  const probed = client.zone(handle, 0n, probe)
  assert.notDeepEqual(probed, closed)
  assert.deepEqual(client.zone(handle, 0n, NOTHING.probe), closed)
  client.closeVolume(handle)
  const again = await begin({
    ...pass,
    progress: { position: 8192n, hot: 0n, probe },
    resumed: { verification, mac: probed },
  })
  client.closeVolume(again.handle)
  // What a request is for is what its client sealed.
  const sealed = await seal(client, { purpose: "reencrypt", pass }, { existing: passphrase })
  await assert.rejects(client.reencrypt(sealed, { ...pass, use: "both" }), refused("message"))
})

test("what is left of a pass that served, at its end, is a handle of the new key alone", async () => {
  const size = 16384n
  const fixed = { size }
  const sides = {
    previous: await volume(0, fixed),
    final: await volume(1, { ...fixed, sectorSize: 4096, keySize: 32 }),
  }
  const { handle, facts } = await begin({ ...started, ...sides, use: "both" })
  assert.deepEqual(facts, { segmentChanged: false, slotsChanged: [], slotsAdded: [], slotsRemoved: [] })
  assert.throws(() => client.finish(handle), refused("request"), "before the end")
  client.zone(handle, size, NOTHING.probe)
  assert.throws(() => client.finish(handle), refused("request"), "in a zone")
  client.zone(handle, 0n, NOTHING.probe)
  const left = client.finish(handle)
  client.closeVolume(handle)
  assert.throws(() => client.finish(handle), refused("handle"))
  assert.throws(() => client.zone(left, 0n, NOTHING.probe), refused("handle"), "no pass")
  const plain = randomBytes(Number(size))
  const output = new Uint8Array(plain.length)
  const input = new Uint8Array(encryptXts(keyOf(sides.final), 4096, 0n, plain))
  client.sectors(left, true, [{ input, output, sector: 0n }])
  assert.deepEqual(Buffer.from(output), plain)
  assert.throws(() => client.sectors(left, true, [{ input, output, sector: 8n }]), refused("request"), "past its end")
  client.closeVolume(left)
  const converts = await begin({ ...started, use: "convert" })
  assert.throws(() => client.finish(converts.handle), refused("request"), "one that only converts")
  client.closeVolume(converts.handle)
})

test("the handle of a pass that only converts serves neither sectors nor blocks", async () => {
  const { handle } = await begin(started)
  const [input, output] = [new Uint8Array(4096), new Uint8Array(4096)]
  assert.throws(() => client.sectors(handle, true, [{ input, output, sector: 0n }]), refused("request"))
  const block = { input, output, handle, mode: "xts", decrypt: true, iv: new Uint8Array(16) } as const
  assert.throws(() => client.blocks([block]), refused("handle"))
  client.closeVolume(handle)
})

const be = (value: bigint | number, size: 4 | 8): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes.subarray(8 - size)
}

type Side = Pass["previous"]

function segmentOf(side: Side): Buffer {
  const plain = isPlain(side)
  const { offset, size } = plain ? side.plain : side.segment
  return Buffer.concat([
    Buffer.from(plain ? "linear" : "crypt"),
    be(offset, 8),
    size === null ? Buffer.from("dynamic") : be(size, 8),
    ...(plain ? [] : [be(side.segment.ivTweak, 8), Buffer.from(side.segment.cipher), be(side.segment.sectorSize, 4)]),
  ])
}

/** `kind`: mode and direction. */
function verificationOf(pass: Pass, kind: string, { salt, iterations }: Digest): Buffer {
  const { previous, final, moved, area } = pass
  const input = Buffer.concat([
    Buffer.from(moved !== null && isPlain(pass.final) ? "v3" : "v2"),
    ...keyed(pass).map(keyOf),
    Buffer.from(`${kind}${moved !== null && area.resilience !== "datashift" ? "datashift-" : ""}${area.resilience}`),
    be(area.offset, 8),
    be(area.size, 8),
    ...(area.resilience === "checksum" ? [Buffer.from("sha256"), be(area.block, 4)] : []),
    ...(moved === null ? [] : [be(SHIFT, 8)]),
    segmentOf(previous),
    segmentOf(final),
    ...(moved === null
      ? []
      : [
          segmentOf(isPlain(previous) ? { plain: moved } : { ...previous, segment: { ...previous.segment, ...moved } }),
        ]),
  ])
  return pbkdf2Sync(input, salt, iterations, 32, "sha256")
}

/** The pass's other side is plaintext. */
const plainAt = (offset: bigint, size: bigint | null) => ({ plain: { offset, size } })
const inPlace = await volume(2, { offset: 0n })
const encrypts: Pass = { ...started, previous: plainAt(0n, null), final: inPlace }
const decrypts: Pass = { ...started, previous: inPlace, final: plainAt(0n, null) }
const TOTAL = 1n << 20n
const SHIFT = 65536n
const shifts: Pass = {
  ...started,
  previous: plainAt(0n, TOTAL),
  final: await volume(3, { offset: SHIFT }),
  moved: { offset: TOTAL + SHIFT, size: SHIFT },
  area: { ...AREA, resilience: "datashift", block: 0, size: 4096n },
  progress: { ...NOTHING, position: TOTAL },
}

/** Bytes that lie in the header's place. */
const FIRST = 16384n
const inFront = await volume(4, { offset: SHIFT })
const movesDown: Pass = {
  ...started,
  previous: inFront,
  final: plainAt(0n, null),
  moved: { offset: 0n, size: FIRST },
  progress: { ...NOTHING, position: FIRST },
}

test("the verification digest is LUKS2's, in each mode, kind of resilience and with a fixed size", async () => {
  const fixed = { size: 1n << 20n }
  const journal = { ...AREA, resilience: "journal", block: 0 } as const
  const passes: readonly (readonly [string, Pass])[] = [
    ["reencryptforward", started],
    ["reencryptforward", { ...started, area: journal }],
    ["reencryptforward", { ...started, previous: await volume(0, fixed), final: await volume(1, fixed) }],
    ["encryptforward", encrypts],
    ["encryptforward", { ...encrypts, area: journal }],
    ["encryptbackward", shifts],
    ["decryptbackward", { ...decrypts, progress: { ...NOTHING, position: TOTAL } }],
    ["decryptforward", movesDown],
    ["decryptforward", { ...movesDown, area: journal }],
  ]
  for (const [kind, pass] of passes) {
    const { handle, verification } = await begin(pass)
    assert.deepEqual(Buffer.from(verification.digest), verificationOf(pass, kind, verification))
    client.closeVolume(handle)
  }
})

test("an encryption takes plaintext and returns ciphertext, a decryption the reverse, from the end on", async () => {
  const text = randomBytes(16384)
  const output = new Uint8Array(text.length)
  const forward = await begin(encrypts)
  client.zone(forward.handle, 16384n, NOTHING.probe)
  await client.convert(forward.handle, [{ input: new Uint8Array(text), output, sector: 0n }])
  assert.deepEqual(decryptXts(keyOf(inPlace), 512, 0n, output), text)
  client.zone(forward.handle, 0n, NOTHING.probe)
  client.closeVolume(forward.handle)

  const back = await begin({ ...decrypts, progress: { ...NOTHING, position: 32768n } })
  const cipher = new Uint8Array(encryptXts(keyOf(inPlace), 512, 32n, text))
  client.zone(back.handle, 16384n, NOTHING.probe)
  await assert.rejects(client.convert(back.handle, [{ input: cipher, output, sector: 0n }]), refused("request"))
  await client.convert(back.handle, [{ input: cipher, output, sector: 32n }])
  assert.deepEqual(Buffer.from(output), text)
  await assert.rejects(client.convert(back.handle, [{ input: cipher, output, sector: 32n }]), refused("request"))
  const mac = client.zone(back.handle, 0n, NOTHING.probe)
  client.zone(back.handle, 16384n, NOTHING.probe)
  await assert.rejects(client.convert(back.handle, [{ input: cipher, output, sector: 32n }]), refused("request"))
  client.closeVolume(back.handle)
  const { verification } = back
  const resumed = { ...decrypts, progress: { ...NOTHING, position: 16384n }, resumed: { verification, mac } }
  const { handle } = await begin(resumed)
  assert.throws(() => client.zone(handle, 16384n + 512n, NOTHING.probe), refused("request"), "before the start")
  client.closeVolume(handle)
  await assert.rejects(begin({ ...resumed, progress: { ...NOTHING, position: 32768n } }), refused("header"))
})

test("a decryption that moves data down has what was moved as its last zone, once", async () => {
  const text = randomBytes(16384)
  const output = new Uint8Array(text.length)
  const first = await begin(movesDown)
  const cipher = (sector: bigint) => new Uint8Array(encryptXts(keyOf(inFront), 512, sector, text))
  const convert = (handle: BegunPass["handle"], sector: bigint) =>
    client.convert(handle, [{ input: cipher(sector), output, sector }])
  assert.throws(() => client.zone(first.handle, 0n, NOTHING.probe, true), refused("request"), "an empty one")
  assert.throws(() => client.zone(first.handle, 512n, NOTHING.probe, true), refused("request"), "a part of it")
  client.zone(first.handle, 16384n, NOTHING.probe)
  assert.throws(() => client.zone(first.handle, FIRST, NOTHING.probe, true), refused("request"), "a zone in a zone")
  await assert.rejects(convert(first.handle, 0n), refused("request"), "the last zone, which is not open")
  await convert(first.handle, 32n)
  assert.deepEqual(Buffer.from(output), text)
  client.zone(first.handle, 0n, NOTHING.probe)
  const mac = client.zone(first.handle, FIRST, NOTHING.probe, true)
  await assert.rejects(convert(first.handle, 64n), refused("request"), "behind the last zone")
  client.closeVolume(first.handle)

  const { verification } = first
  const progress = { ...NOTHING, hot: FIRST }
  const { handle } = await begin({ ...movesDown, progress, resumed: { verification, mac } })
  await convert(handle, 0n)
  assert.deepEqual(Buffer.from(output), text)
  client.zone(handle, 0n, NOTHING.probe)
  assert.throws(() => client.zone(handle, FIRST, NOTHING.probe, true), refused("request"), "once more")
  assert.throws(() => client.zone(handle, 4096n, NOTHING.probe), refused("request"), "another zone")
  client.closeVolume(handle)

  const wrong = (changes: Partial<Pass>, status: string, what: string) =>
    assert.rejects(begin({ ...movesDown, ...changes }), refused(status), what)
  const moved = (changes: Partial<NonNullable<Pass["moved"]>>) => ({ moved: { offset: 0n, size: FIRST, ...changes } })
  await wrong(moved({ size: SHIFT + 4096n }), "unsupported", "more than there is room for")
  await wrong(moved({ size: 0n }), "unsupported", "nothing")
  await wrong(moved({ offset: 4096n }), "unsupported", "elsewhere")
  await wrong({ moved: null }, "unsupported", "no place for the first bytes")
  await wrong({ area: { ...AREA, resilience: "datashift", block: 0 } }, "unsupported", "nothing kept of the last zone")
  await wrong({ final: plainAt(512n, null) }, "unsupported", "plaintext that begins elsewhere")
  await wrong({ final: plainAt(0n, TOTAL) }, "unsupported", "another size")
  await wrong({ progress: NOTHING }, "request", "from the start")
  await wrong({ progress: { ...NOTHING, hot: FIRST } }, "request", "from the last zone")
  const resumed = { verification, mac: null }
  await wrong({ progress: { ...NOTHING, position: 4096n }, resumed }, "request", "in the middle of what is last")
  await wrong({ progress: { ...NOTHING, hot: 4096n }, resumed }, "request", "a part of what is last")
})

test("nobody decrypts by a request to encrypt or to reencrypt, nor by one for another direction or shift", async () => {
  const asked = (pass: Pass) => seal(client, { purpose: "reencrypt", pass }, { existing: passphrase })
  const end = { ...decrypts, progress: { ...NOTHING, position: TOTAL } }
  for (const pass of [encrypts, started]) {
    await assert.rejects(client.reencrypt(await asked(pass), end), refused("message"))
  }
  const unlocks = await seal(client, { purpose: "unlock", header: inPlace, slot: null }, { existing: passphrase })
  await assert.rejects(client.reencrypt(unlocks, end), refused("message"))
  await assert.rejects(begin(end, Buffer.from("wrong")), refused("passphrase"))
  const { moved, area } = shifts
  await assert.rejects(begin({ ...end, moved, area }), refused("unsupported"), "a decryption with a shift")
  await assert.rejects(begin({ ...shifts, area: AREA }), refused("unsupported"), "a shift with checksums")
  await assert.rejects(begin({ ...shifts, moved: null }), refused("unsupported"), "a shift without its place")
  await assert.rejects(begin({ ...encrypts, area }), refused("unsupported"), "no shift and its resilience")
  await assert.rejects(begin({ ...encrypts, previous: plainAt(512n, null) }), refused("unsupported"), "elsewhere")
  await assert.rejects(begin({ ...encrypts, previous: plainAt(0n, TOTAL) }), refused("unsupported"), "another size")
  await assert.rejects(begin({ ...shifts, progress: NOTHING }), refused("request"), "from the start")
  await assert.rejects(begin({ ...encrypts, progress: { ...NOTHING, position: 4096n } }), refused("request"))
})

test("a pass is resumed where its MAC says, and nowhere else", async () => {
  const first = await begin(started)
  const probe = new Uint8Array(createHash("sha256").update("behind").digest())
  const hot: PassProgress = { position: 0n, hot: 65536n, probe }
  const mac = client.zone(first.handle, hot.hot, probe)
  client.closeVolume(first.handle)
  const { verification } = first
  const resumed: Pass = { ...started, progress: hot, resumed: { verification, mac } }
  const { handle, mac: again } = await begin(resumed)
  assert.deepEqual(again, mac)
  await client.convert(handle, [{ input: new Uint8Array(4096), output: new Uint8Array(4096), sector: 0n }])
  const after = client.zone(handle, 0n, probe)
  client.closeVolume(handle)
  const second = await begin({
    ...resumed,
    progress: { position: 65536n, hot: 0n, probe },
    resumed: { verification, mac: after },
  })
  client.closeVolume(second.handle)

  const changed = (changes: Partial<Pass>) => assert.rejects(begin({ ...resumed, ...changes }), refused("header"))
  await changed({ progress: { ...hot, position: 4096n } })
  await changed({ progress: { ...hot, hot: 4096n } })
  await changed({ progress: { ...hot, hot: 0n } })
  await changed({ progress: { ...hot, probe: new Uint8Array(32) } })
  await changed({ progress: NOTHING })
  await changed({ area: { ...AREA, size: AREA.size - 4096n } })
  await changed({ area: { ...AREA, block: 8192 } })
  await changed({ previous: final, final: previous })
  await changed({ resumed: { verification, mac: new Uint8Array(32) } })
  const forged = { ...verification, digest: verification.digest.map((byte) => byte ^ 1) }
  await changed({ resumed: { verification: forged, mac } })
})

test("what another program did to a pass is taken on by a request that vouches for it, if LUKS2's digest holds", async () => {
  const { handle, verification } = await begin(started)
  client.closeVolume(handle)
  const progress = { position: 1n << 20n, hot: 0n, probe: new Uint8Array(32) }
  const pass: Pass = { ...started, progress, resumed: { verification, mac: null } }
  const vouched = await begin(pass)
  client.closeVolume(vouched.handle)
  const again = await begin({ ...pass, resumed: { verification, mac: vouched.mac } })
  client.closeVolume(again.handle)
  const forged = { ...verification, salt: verification.salt.map((byte) => byte ^ 1) }
  await assert.rejects(begin({ ...pass, resumed: { verification: forged, mac: null } }), refused("header"))
})

test("a pass wants a passphrase of both keys, two keys, unchanged headers, and what its client asked for", async () => {
  await assert.rejects(begin(started, Buffer.from("wrong")), refused("passphrase"))
  await assert.rejects(begin({ ...started, final: { ...previous } }), refused("unsupported"))
  const tampered = { ...final, segment: { ...final.segment, sectorSize: 2048 } } as const
  await assert.rejects(begin({ ...started, final: tampered }), refused("header"))
  await assert.rejects(
    begin({ ...started, previous: { ...previous, segment: { ...previous.segment, sectorSize: 2048 } } }),
    refused("header"),
  )
  const elsewhere = await volume(1, { offset: 8n << 20n })
  await assert.rejects(begin({ ...started, final: elsewhere }), refused("unsupported"))
  await assert.rejects(begin({ ...started, area: { ...AREA, block: 512 } }), refused("unsupported"))
  const sealed = await seal(client, { purpose: "reencrypt", pass: started }, { existing: passphrase })
  const other: Pass = { ...started, area: { ...AREA, offset: 2n << 20n } }
  await assert.rejects(client.reencrypt(sealed, other), refused("message"))
  const unlocks = await seal(client, { purpose: "unlock", header: previous, slot: null }, { existing: passphrase })
  await assert.rejects(client.reencrypt(unlocks, started), refused("message"))
})

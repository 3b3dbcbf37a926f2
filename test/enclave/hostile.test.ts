/**
 * A million calls of a lying host into the image as it is shipped, through the
 * addon. (enclave/test/host makes more of them, under ASan and UBSan, into the
 * same sources.) What is never given: user-space addresses that are not mapped,
 * because touching those is a page fault on any machine.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import * as abi from "../../src/abi/enclave.ts"
import { encode } from "../../src/abi/struct.ts"
import { addressOf, createEnclave } from "../../src/native/addon.ts"
import { decryptXts } from "../../src/testing/luks.ts"
import { makeVolume, real, startImage, unlock } from "../../src/testing/real-image.ts"

const CALLS = 1_000_000

/** SplitMix64: the same calls every time. */
let seed = 1n
function next(below: number): number {
  seed = BigInt.asUintN(64, seed + 0x9e3779b97f4a7c15n)
  let z = seed
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
  return Number((z ^ (z >> 31n)) & 0x7fffffffn) % below
}
const pick = <T>(list: readonly T[]): T => list[next(list.length)]!

const NUMBERS = [
  0,
  1,
  2,
  3,
  5,
  7,
  8,
  15,
  16,
  17,
  31,
  32,
  33,
  255,
  256,
  257,
  511,
  512,
  513,
  4095,
  4096,
  4097,
  65536,
  1 << 20,
  0x7fffffff,
  0x80000000,
  0xfffffff8,
  0xfffffffe,
  0xffffffff,
]

/** Where pages of the enclave begin and end: ELRANGE is as aligned as it is large, and most secret memory is its. */
function elrange(): bigint[] {
  const SIZE = 1n << 31n
  const maps = readFileSync("/proc/self/maps", "utf8").matchAll(/^([0-9a-f]+)-([0-9a-f]+) .*secretmem/gm)
  const edges = [...maps].flatMap(([, from, to]) => [BigInt(`0x${from}`), BigInt(`0x${to}`)])
  const bases = edges.map((at) => at - (at % SIZE))
  const often = (base: bigint) => bases.filter((each) => each === base).length
  const base = bases.reduce((best, each) => (often(each) > often(best) ? each : best))
  return edges.filter((at) => at > base && at < base + SIZE)
}

test(`${CALLS} hostile calls into the real image: a status each, no fault, no key in what comes out`, async () => {
  const client = await startImage(createEnclave, "software", real())
  const { native } = client
  const { header, key } = await makeVolume(client)
  let { handle } = await unlock(client, header)

  // Requests point into the first MiB; no length that is accepted reaches past the end.
  const arena = new Uint8Array(new ArrayBuffer(80 << 20))
  const base = addressOf(arena)
  const inside = elrange()
  const addresses = [
    ...[0n, 8n, 4096n, 65_536n, 65_540n, 131_072n, 1n << 20n].map((at) => base + at),
    // The enclave itself, and what ends or begins within it.
    ...inside.flatMap((at) => [at, at + 4n, at + 8n, at + 4096n]),
    ...[0n, 1n, 8n, 4088n, (1n << 47n) - 8n, 1n << 47n, 1n << 63n, (1n << 64n) - 8n, (1n << 64n) - 1n],
  ]
  const listed = new Set(addresses)
  const allowed = (address: bigint) => listed.has(address) || (address >= base && address < base + (1n << 21n))

  const table = arena.subarray(1 << 20, (1 << 20) + 256 * abi.range.size)
  const operations = [
    { struct: abi.challenge, op: abi.Op.challenge },
    { struct: abi.report, op: abi.Op.report },
    { struct: abi.sectors, op: abi.Op.sectors },
    { struct: abi.blocks, op: abi.Op.blocks },
    { struct: abi.create, op: abi.Op.create },
    { struct: abi.unlock, op: abi.Op.unlock },
    { struct: abi.enrol, op: abi.Op.enrol },
    { struct: abi.legacy, op: abi.Op.legacy },
    { struct: abi.close, op: abi.Op.close },
    { struct: abi.hello, op: abi.Op.hello },
    { struct: abi.bequeath, op: abi.Op.bequeath },
    { struct: abi.inherit, op: abi.Op.inherit },
    { struct: abi.reencrypt, op: abi.Op.reencrypt },
    { struct: abi.zone, op: abi.Op.zone },
    { struct: abi.convert, op: abi.Op.convert },
    { struct: abi.approve, op: abi.Op.approve },
    { struct: abi.yieldKey, op: abi.Op.yield },
    { struct: abi.takeOver, op: abi.Op.take_over },
  ] as const
  const known = new Set<number>(Object.values(abi.Status))
  const seen = new Map<number, number>()
  let served = 0

  for (let n = 0; n < CALLS; n++) {
    const operation = n % 3 === 0 ? operations[2] : pick(operations)
    const bytes = arena.subarray(2 << 20, (2 << 20) + operation.struct.size)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    bytes.fill(0)
    encode(abi.head, { op: operation.op, size: operation.struct.size, status: 0, reserved: 0 }, bytes.subarray(0, 16))
    if (operation.struct === abi.sectors) {
      const range = { in: base, out: base + 65_536n, sector: 8n * BigInt(next(1000)), length: 4096, reserved: 0 }
      encode(abi.range, range, table.subarray(0, abi.range.size))
      const whole = { handle, decrypt: next(2), count: 1, reserved: 0, ranges: base + (1n << 20n) }
      encode(abi.sectors, { head: { op: operation.op, size: bytes.length }, ...whole }, bytes)
      // One field of the range as well.
      const tableView = new DataView(table.buffer, table.byteOffset, abi.range.size)
      if (next(2) === 0) tableView.setBigUint64(8 * next(3), pick(addresses), true)
      if (next(4) === 0) tableView.setUint32(24, pick(NUMBERS), true)
    } else if (operation.struct === abi.blocks) {
      const block = {
        in: base,
        out: base + 65_536n,
        length: 512,
        handle,
        mode: 1 + next(6),
        decrypt: next(2),
        iv: randomIv,
      }
      encode(abi.block, block, table.subarray(0, abi.block.size))
      encode(
        abi.blocks,
        { head: { op: operation.op, size: bytes.length }, count: 1, blocks: base + (1n << 20n) },
        bytes,
      )
    } else {
      for (let at = 16; at + 4 <= bytes.length; at += 4) view.setUint32(at, pick(NUMBERS), true)
      for (let at = 16; at + 8 <= bytes.length; at += 8) if (next(4) === 0) view.setBigUint64(at, pick(addresses), true)
    }
    for (let bends = next(3); bends > 0; bends--) {
      const at = 4 * next(bytes.length / 4)
      // Any field, the operation's number included; the addon itself refuses a size that is not the request's.
      if (at !== 4 && (at !== 0 || next(8) === 0)) view.setUint32(at, at === 0 ? pick(UNCLEAR) : pick(NUMBERS), true)
    }
    limit(view, allowed)
    const status = native.enter(bytes)
    assert.ok(known.has(status), `call ${n}: operation ${operation.op} said ${status}; alive: ${native.alive}`)
    seen.set(status, (seen.get(status) ?? 0) + 1)
    if (operation.op === abi.Op.sectors && status === abi.Status.ok) served++
    if (operation.op === abi.Op.close && status === abi.Status.ok) ({ handle } = await unlock(client, header))
  }

  assert.ok(native.alive)
  assert.ok(seen.size >= 5 && served > CALLS / 50, JSON.stringify([...seen]))
  const memory = Buffer.from(arena.buffer)
  for (let at = 0; at < key.length; at += 16) {
    assert.equal(memory.indexOf(key.subarray(at, at + 16)), -1, "a part of the volume key lies in the host's memory")
  }
  // And it still does its work.
  const cipher = randomBytes(4096)
  const plain = new Uint8Array(4096)
  client.sectors(handle, true, [{ input: new Uint8Array(cipher), output: plain, sector: 8n }])
  assert.deepEqual(Buffer.from(plain), decryptXts(key, 4096, 8n, cipher))
  await client.close()
})

const randomIv = randomBytes(16)
/** Operations without a KDF behind them, and numbers that are none. */
const UNCLEAR = [0, 2, 3, 7, 8, 10, 14, 15, 255, 0x80000000, 0xffffffff]

/** Whatever could be taken for an address is in the arena, in the enclave, or nobody's to have. */
function limit(view: DataView, allowed: (address: bigint) => boolean): void {
  // As bent: INHERIT is as long as BLOCKS, and has addresses only.
  const op = view.getUint32(0, true)
  const pairs = op === abi.Op.sectors ? 32 : op === abi.Op.blocks ? 24 : 16
  for (let at = pairs; at + 8 <= view.byteLength; at += 8) {
    const address = view.getBigUint64(at, true)
    if (address >= 4096n && address < 1n << 47n && !allowed(address)) view.setUint32(at + 4, 0xffffffff, true)
  }
}

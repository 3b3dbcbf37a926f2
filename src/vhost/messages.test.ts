import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { configSpace, features } from "./config.ts"
import {
  backendRequest,
  configPayload,
  inflightPayload,
  MessageError,
  numberPayload,
  readConfigRange,
  readHeader,
  readInflight,
  readMemoryTable,
  readNumber,
  readVringAddress,
  readVringFile,
  readVringState,
  reply,
  vringStatePayload,
} from "./messages.ts"

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"))

/** Written out from the specification, so that a wrong place in messages.ts cannot agree with itself. */
test("messages are read from the places that the specification has them in", () => {
  assert.deepEqual(readHeader(hex("05000000 09000000 28000000")), { request: 5, needsReply: true, size: 40 })
  assert.deepEqual(readHeader(hex("01000000 01000000 00000000")), { request: 1, needsReply: false, size: 0 })
  assert.equal(readNumber(hex("0102030405060708")), 0x0807060504030201n)
  assert.deepEqual(readVringState(hex("01000000 00010000")), { index: 1, value: 256 })
  assert.deepEqual(readVringFile(hex("0300000000000000")), { index: 3, file: true })
  assert.deepEqual(readVringFile(hex("0301000000000000")), { index: 3, file: false })
  assert.deepEqual(
    readVringAddress(hex("02000000 00000000 0010000000000000 0020000000000000 0030000000000000 0040000000000000")),
    { index: 2, descriptors: 0x1000n, used: 0x2000n, available: 0x3000n },
  )
  const region = "0000000001000000 0000400000000000 00000000007f0000 0000100000000000"
  assert.deepEqual(readMemoryTable(hex(`01000000 00000000 ${region}`)), [
    { guest: 1n << 32n, size: 4n << 20n, user: 0x7f0000000000n, offset: 1n << 20n },
  ])
  assert.deepEqual(readInflight(hex("0010000000000000 0000000000000000 0200 8000")), {
    size: 4096n,
    offset: 0n,
    rings: 2,
    descriptors: 128,
  })
})

test("answers have the places that the specification has them in", () => {
  assert.deepEqual(reply(1, numberPayload(7n)), hex("01000000 05000000 08000000 0700000000000000"))
  assert.deepEqual(
    reply(11, vringStatePayload({ index: 1, value: 9 })),
    hex("0b000000 05000000 08000000 01000000 09000000"),
  )
  assert.deepEqual(backendRequest(2), hex("02000000 01000000 00000000"))
  const described = { size: 4096n, offset: 0n, rings: 2, descriptors: 128 }
  assert.deepEqual(inflightPayload(described, 24), hex("0010000000000000 0000000000000000 0200 8000 00000000"))
  const range = readConfigRange(hex("02000000 04000000 00000000 ffffffff"))
  assert.deepEqual(configPayload(range, hex("000102030405")), hex("02000000 04000000 00000000 02030405"))
  // Behind the end, zeros.
  assert.deepEqual(configPayload({ offset: 5, size: 3, flags: 0 }, hex("000102030405")).subarray(12), hex("050000"))
  assert.deepEqual(configPayload({ offset: 0xffffffff, size: 2, flags: 0 }, hex("0001")).subarray(12), hex("0000"))
})

const readers = {
  readHeader: (bytes: Uint8Array) => (bytes.length < 12 ? null : readHeader(bytes)),
  readNumber,
  readVringState,
  readVringFile,
  readVringAddress,
  readMemoryTable,
  readInflight,
  readConfigRange,
}
for (const [name, read] of Object.entries(readers))
  test(`${name} takes any bytes, or throws a MessageError`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          read(bytes)
        } catch (error) {
          if (!(error instanceof MessageError)) throw error
        }
      }),
      { numRuns: 2000 },
    )
  })

for (const [what, bytes] of [
  ["another version", "01000000 02000000 00000000"],
  ["a payload beyond the limit", "01000000 01000000 01040000"],
] as const)
  test(`a header with ${what} is refused`, () => assert.throws(() => readHeader(hex(bytes)), MessageError))

for (const [what, bytes] of [
  ["no region", "00000000 00000000"],
  ["nine regions", `09000000 00000000 ${"00".repeat(288)}`],
  ["a region less than it says", `02000000 00000000 ${"00".repeat(32)}`],
] as const)
  test(`a memory table with ${what} is refused`, () => assert.throws(() => readMemoryTable(hex(bytes)), MessageError))

const disk = { size: 1 << 30, sectorSize: 4096, readOnly: false, discards: true }

test("a guest is told the disk's size in sectors of 512, and what it may ask for", () => {
  const view = new DataView(configSpace(disk, 64).buffer)
  assert.equal(view.getBigUint64(0, true), BigInt((1 << 30) / 512))
  assert.equal(view.getUint32(12, true), 126)
  assert.equal(view.getUint32(20, true), 4096)
  assert.equal(view.getUint8(32), 1)
  assert.equal(view.getUint16(34, true), 64)
  assert.deepEqual(
    [36, 40, 44].map((at) => view.getUint32(at, true)),
    [1 << 21, 16, 8],
  )
  assert.deepEqual(
    [48, 52].map((at) => view.getUint32(at, true)),
    [1 << 16, 16],
  )
  assert.equal(features(disk), 0x130007244n)
})

test("what a volume does not do is not offered", () => {
  const plain = { ...disk, readOnly: true, discards: false }
  assert.equal(features(plain), 0x130001264n)
  const view = new DataView(configSpace(plain, 1).buffer)
  assert.deepEqual(
    [36, 40, 44, 48, 52].map((at) => view.getUint32(at, true)),
    [0, 0, 0, 0, 0],
  )
})

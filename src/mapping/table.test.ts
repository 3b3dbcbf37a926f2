import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { type CryptTable, formatTable, mappingUuid, parseTable, sameTable } from "./table.ts"

const table: CryptTable = {
  size: 1 << 20,
  handle: Buffer.alloc(32, 0xab),
  ivOffset: 0n,
  device: "7:0",
  offset: 16777216n,
  sectorSize: 4096,
  discards: true,
}

test("a table is what dm-crypt documents", () => {
  assert.equal(
    formatTable(table),
    `0 2048 crypt capi:xts(tresor)-plain64 ${"ab".repeat(32)} 0 7:0 32768 2 allow_discards sector_size:4096`,
  )
  assert.equal(
    formatTable({ ...table, sectorSize: 512, discards: false }),
    `0 2048 crypt capi:xts(tresor)-plain64 ${"ab".repeat(32)} 0 7:0 32768`,
  )
})

const tables: fc.Arbitrary<CryptTable> = fc.record({
  size: fc.integer({ min: 1, max: 2 ** 40 }).map((sectors) => sectors * 4096),
  handle: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
  ivOffset: fc.bigInt({ min: 0n, max: 2n ** 62n }),
  device: fc.tuple(fc.nat(4095), fc.nat(1 << 20)).map(([major, minor]) => `${major}:${minor}`),
  offset: fc.bigInt({ min: 0n, max: 2n ** 50n }).map((sectors) => sectors * 512n),
  sectorSize: fc.constantFrom(512, 1024, 2048, 4096),
  discards: fc.boolean(),
})

test("a table reads back as it was written", () => {
  fc.assert(fc.property(tables, (each) => assert.deepEqual(parseTable(formatTable(each)), { ...each })))
})

test("the handle alone does not tell two tables apart", () => {
  assert.ok(sameTable(table, { ...table, handle: Buffer.alloc(32) }))
  for (const other of [{ device: "7:1" }, { offset: 512n }, { size: 512 }, { sectorSize: 512 }, { ivOffset: 1n }]) {
    assert.ok(!sameTable(table, { ...table, ...other }))
  }
})

test("other tables are none of ours", () => {
  for (const text of [
    "",
    "0 2048 linear 7:0 0",
    `0 2048 crypt aes-xts-plain64 ${"ab".repeat(32)} 0 7:0 0`,
    `0 2048 crypt capi:xts(tresor)-plain64 ${"ab".repeat(64)} 0 7:0 0`,
    `0 2048 crypt capi:xts(tresor)-plain64 :32:logon:key 0 7:0 0`,
    `0 2048 crypt capi:xts(tresor)-plain64 ${"ab".repeat(32)} 0 7:0 0 1 iv_large_sectors`,
    `0 2048 crypt capi:xts(tresor)-plain64 ${"ab".repeat(32)} 0 7:0 0 2 allow_discards`,
    `0 2048 crypt capi:xts(tresor)-plain64 ${"ab".repeat(32)} 0 7:0 0\n2048 2048 error`,
  ]) {
    assert.equal(parseTable(text), null, text)
  }
})

test("the mapping's uuid names volume and mapping", () => {
  assert.equal(
    mappingUuid("9c1f1ee9-6b5e-4a1e-a63c-cf6c2b4b2b35", "work"),
    "CRYPT-TRESOR-9c1f1ee96b5e4a1ea63ccf6c2b4b2b35-work",
  )
})

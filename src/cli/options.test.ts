import assert from "node:assert/strict"
import { test } from "node:test"
import { InvalidArgumentError } from "commander"
import fc from "fast-check"
import { formatSize } from "../base/size.ts"
import { integer, oneOf, parsePcrs, parseSize } from "./options.ts"

for (const [text, bytes] of [
  ["0", 0n],
  ["512", 512n],
  ["512B", 512n],
  ["1K", 1024n],
  ["1k", 1024n],
  ["64M", 67108864n],
  ["1.5G", 1610612736n],
  ["2T", 2199023255552n],
  ["10MiB", 10485760n],
  ["10MB", 10000000n],
] as const) {
  test(`${text} is ${bytes} bytes`, () => assert.equal(parseSize(text), bytes))
}

for (const text of ["", "-1", "1P", "G", "1 G", "0x10", "1.5", "1e9", "9999999T", "1,5G", "１"]) {
  test(`${JSON.stringify(text)} is no size`, () => assert.throws(() => parseSize(text), InvalidArgumentError))
}

test("a size of 2^53 bytes or more is refused, and the limit named", () => {
  assert.equal(parseSize("9007199254740991"), 2n ** 53n - 1n)
  for (const text of ["9007199254740992", "8192T", "9999999999999999999", "9000T", "9999999999TB"]) {
    assert.throws(() => parseSize(text), /smaller than 8192T/, text)
  }
})

test("a number and its unit are the product", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 4095 }),
      fc.constantFrom(["K", 10n], ["M", 20n], ["G", 30n], ["T", 40n]),
      (n, [unit, shift]) => {
        assert.equal(parseSize(`${n}${unit}`), BigInt(n) << (shift as bigint))
      },
    ),
  )
})

test("integers outside their range are refused", () => {
  const parse = integer(0, 31)
  assert.equal(parse("31"), 31)
  for (const text of ["32", "-1", "1.0", "", " 1", "0x1"]) assert.throws(() => parse(text), InvalidArgumentError)
})

test("PCRs are numbers from 0 to 23 with + or commas, or none", () => {
  assert.deepEqual(["7", "7+0", "0,7,7", "none"].map(parsePcrs), [[7], [0, 7], [0, 7], []])
  for (const text of ["24", "", "7+", "0x7", "sha256:7"]) assert.throws(() => parsePcrs(text), InvalidArgumentError)
})

test("a refused word names the words there are", () => {
  assert.throws(() => oneOf("ext4", "xfs", "btrfs")("ext3"), /ext4, xfs or btrfs/)
})

for (const [bytes, text] of [
  [0, "0 B"],
  [1500, "1500 B"],
  [2048, "2 KiB"],
  [16777216, "16 MiB"],
  [1610612736, "1.5 GiB"],
] as const) {
  test(`${bytes} bytes are shown as ${text}`, () => assert.equal(formatSize(bytes), text))
}

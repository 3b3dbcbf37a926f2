import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { anyText } from "../testing/any-text.ts"
import { decodeRecoveryKey, encodeRecoveryKey, normalizeRecoveryKey, recoveryKeyFaults } from "./recovery-key.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const keys = fc.uint8Array({ minLength: 32, maxLength: 32 })
const LETTERS = "cbdefghijklnrtuv"

test("a key in any form has no faults, and is the key", () => {
  fc.assert(
    fc.property(keys, fc.constantFrom("", "-", " ", "  ", " - "), fc.boolean(), (key, separator, upper) => {
      const text = encodeRecoveryKey(key)
      const groups = new TextDecoder().decode(text).split("-")
      const typed = bytes(upper ? groups.join(separator).toUpperCase() : groups.join(separator))
      assert.deepEqual(recoveryKeyFaults(typed), [])
      assert.deepEqual(recoveryKeyFaults(typed, text), [])
      assert.deepEqual(normalizeRecoveryKey(typed), text)
    }),
  )
})

test("exactly the groups that are wrong are named", () => {
  const wrong = fc.subarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 1 })
  const ways = fc.constantFrom("short", "long", "letter", "other")
  fc.assert(
    fc.property(keys, wrong, ways, fc.nat(7), (key, groups, way, at) => {
      const text = encodeRecoveryKey(key)
      const typed = new TextDecoder()
        .decode(text)
        .split("-")
        .map((group, index) => {
          if (!groups.includes(index)) return group
          if (way === "short") return group.slice(1)
          if (way === "long") return `${group}c`
          const letter = way === "letter" ? "x" : LETTERS[(LETTERS.indexOf(group[at]!) + 1) % 16]!
          return group.slice(0, at) + letter + group.slice(at + 1)
        })
        .join("-")
      const faults = recoveryKeyFaults(bytes(typed), text)
      assert.deepEqual(
        faults.map((fault) => Number(/^group (\d)/.exec(fault)![1]) - 1),
        groups,
      )
      // Of the form alone, another key is none.
      assert.equal(recoveryKeyFaults(bytes(typed)).length, way === "other" ? 0 : groups.length)
    }),
  )
})

test("a canonical text is its 32 bytes again, and nothing else is decoded", () => {
  fc.assert(fc.property(keys, (key) => assert.deepEqual(decodeRecoveryKey(encodeRecoveryKey(key)), key)))
  const text = "cccccccc-".repeat(8).slice(0, -1)
  for (const typed of ["", text.slice(1), `${text}c`, text.toUpperCase(), text.replaceAll("-", " ")])
    assert.throws(() => decodeRecoveryKey(bytes(typed)), RangeError, typed)
})

test("whatever has no faults is a key, and whatever is a key has none", () => {
  const near = fc.array(fc.constantFrom(...LETTERS, "-", " ", "x", "C"), { maxLength: 90 }).map((list) => list.join(""))
  fc.assert(
    fc.property(fc.oneof(near, anyText()), (text) => {
      const typed = bytes(text)
      if (recoveryKeyFaults(typed).length === 0) assert.notEqual(normalizeRecoveryKey(typed), null)
    }),
    { numRuns: 2000 },
  )
  assert.deepEqual(recoveryKeyFaults(bytes("")), ["there are 0 groups, not 8"])
})

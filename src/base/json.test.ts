/** JSON of others: as JSON.parse reads it, or refused. */
import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { AmbiguousJson, jsonFault, parseJson } from "./json.ts"

test("parseJson reads what JSON.parse reads", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 8 }), fc.constantFrom(undefined, 1, "\t"), (text, space) => {
      const value: unknown = JSON.parse(text)
      assert.deepEqual(parseJson(JSON.stringify(value, null, space)), value)
    }),
    { numRuns: 2000 },
  )
})

test("parseJson refuses equal names in one object, however they are spelt and however deep", () => {
  for (const text of [
    '{"a":1,"a":1}',
    '{"a":1,"b":{},"\\u0061":2}',
    '[0,{"x":{"y":[{"k":1,"l":[],"k":2}]}}]',
    '{"":1,"":2}',
    '{"a":"{","a":"}"}',
    '{"__proto__":1,"__proto__":2}',
  ]) {
    assert.throws(() => parseJson(text), AmbiguousJson, text)
  }
})

test("parseJson lets equal names be in different objects, and equal strings in arrays and values", () => {
  for (const text of ['{"a":{"a":{"a":1}},"b":{"a":2}}', '["a","a",{"a":"a"},{"a":["a","a"]}]', '{"a":",\\"a\\":"}']) {
    assert.deepEqual(parseJson(text), JSON.parse(text))
  }
})

test("a second member put anywhere into an object is found", () => {
  const names = fc.string({ maxLength: 3 })
  fc.assert(
    fc.property(fc.dictionary(names, fc.jsonValue(), { minKeys: 1, maxKeys: 5 }), fc.nat(), (object, at) => {
      const members = Object.entries(object).map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
      const again = members[at % members.length]!
      const text = `{"outer":[{${[...members, again].join(",")}}]}`
      assert.throws(() => parseJson(text), AmbiguousJson, text)
    }),
    { numRuns: 500 },
  )
})

test("parseJson refuses what is nested deeper than asked for, and says what is wrong", () => {
  const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels)
  assert.deepEqual(parseJson("[[]]", 2), [[]])
  assert.throws(() => parseJson(nested(3), 2), AmbiguousJson)
  assert.throws(() => parseJson(nested(100_000)), SyntaxError)
  const fault = (text: string) => {
    try {
      return parseJson(text)
    } catch (error) {
      return jsonFault(error)
    }
  }
  assert.equal(fault('{"a":1,"a":2}'), 'has the name "a" twice in one object')
  assert.equal(fault("{"), "is not JSON")
})

/** The text that varlinkctl shows says what the schemas check. */
import assert from "node:assert/strict"
import { test } from "node:test"
import type * as v from "valibot"
import { refusedSchema, VOLUME_DESCRIPTION, volumeMethods } from "./volume.ts"

type Shape = string | { readonly [field: string]: Shape }

/** The interface's text, named types put in where they stand. */
function described(): { methods: Record<string, Shape>; errors: Record<string, Shape> } {
  const text = VOLUME_DESCRIPTION.replace(/^\s*#.*$/gm, "")
  const words = [...text.matchAll(/->|[()[\],:?]|[\w.]+/g)].map(([word]) => word)
  const types = new Map<string, Shape>()
  const methods: Record<string, Shape> = {}
  const errors: Record<string, Shape> = {}
  let at = 0
  const take = (expected?: string): string => {
    const word = words[at++]
    assert.ok(word !== undefined && (expected === undefined || word === expected), `${expected} at word ${at}: ${word}`)
    return word
  }
  const type = (): Shape => {
    if (words[at] === "(") return struct()
    const word = take()
    if (word === "?") return { nullable: type() }
    if (word === "[") {
      const of = words[at] === "string" ? take() : ""
      take("]")
      return of === "" ? { array: type() } : { record: type() }
    }
    return types.get(word) ?? word
  }
  const struct = (): Shape => {
    const fields: Record<string, Shape> = {}
    take("(")
    while (words[at] !== ")") {
      const name = take()
      take(":")
      fields[name] = type()
      if (words[at] === ",") take()
    }
    take(")")
    return fields
  }
  while (at < words.length) {
    const word = take()
    const name = take()
    if (word === "interface") continue
    if (word === "type") types.set(name, struct())
    else if (word === "error") errors[name] = struct()
    else {
      assert.equal(word, "method")
      const input = struct()
      take("->")
      methods[name] = { input, output: struct() }
    }
  }
  return { methods, errors }
}

type Schema = v.GenericSchema & {
  readonly wrapped?: Schema
  readonly item?: Schema
  readonly value?: Schema
  readonly entries?: Readonly<Record<string, Schema>>
  readonly options?: readonly unknown[]
}

/** The same of a schema. Lists of words are strings, numbers are ints: varlink has nothing narrower. */
function shapeOf(schema: Schema): Shape {
  switch (schema.type) {
    case "object":
    case "strict_object":
      return Object.fromEntries(Object.entries(schema.entries!).map(([name, entry]) => [name, shapeOf(entry)]))
    case "nullable":
      return { nullable: shapeOf(schema.wrapped!) }
    case "optional":
      // May be left out, as what is nullable may in varlink.
      return shapeOf(schema.wrapped!)
    case "array":
      return { array: shapeOf(schema.item!) }
    case "record":
      return { record: shapeOf(schema.value!) }
    case "boolean":
      return "bool"
    case "number":
      return "int"
    case "picklist":
      return typeof schema.options![0] === "number" ? "int" : "string"
    default:
      return schema.type
  }
}

test("every method and error of io.tresor.Volume has the fields and types of its schema", () => {
  const { methods, errors } = described()
  const ours = Object.entries(volumeMethods).map(([name, { input, output }]) => [
    name,
    { input: shapeOf(input as unknown as Schema), output: shapeOf(output as unknown as Schema) },
  ])
  assert.deepEqual(methods, Object.fromEntries(ours))
  assert.deepEqual(errors, { Refused: shapeOf(refusedSchema as unknown as Schema) })
})

test("fields stand in the schema's order, and comments are no types", () => {
  const { methods } = described()
  const volume = (methods["Status"] as { output: { volume: Record<string, Shape> } }).output.volume
  assert.deepEqual(Object.keys(volume), Object.keys(volumeMethods.Status.output.entries.volume.entries))
  assert.deepEqual(volume["counters"], { record: "int" })
  assert.deepEqual(volume["keyslot"], { nullable: "int" })
})

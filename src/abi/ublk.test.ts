import assert from "node:assert/strict"
import { test } from "node:test"
import { constantsIn, fieldsInC, readHeader } from "../testing/c-header.ts"
import type { FieldType } from "./struct.ts"
import * as ublk from "./ublk.ts"

const header = readHeader("abi/ublk.h")
const constants = constantsIn(header)

const upper = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

test("every number is abi/ublk.h's", () => {
  const groups = { ...ublk.Command, ...ublk.State, ...ublk.Feature, ...ublk.Attribute }
  const numbers: Readonly<Record<string, number>> = {
    ...Object.fromEntries(Object.entries(groups).map(([name, number]) => [`UBLK_${upper(name)}`, number])),
    UBLK_ANY_ID: ublk.ANY_ID,
    UBLK_TYPE_BASIC: ublk.Type.basic,
    UBLK_TYPE_DISCARD: ublk.Type.discard,
  }
  assert.equal(Object.keys(numbers).length, 25)
  for (const [name, value] of Object.entries(numbers)) assert.equal(value, constants.get(name), name)
})

test("every struct has the header's fields", () => {
  for (const type of [ublk.deviceInfo, ublk.basic, ublk.discard, ublk.params]) {
    const body = new RegExp(`struct ${type.name} \\{([^}]*)\\}`).exec(header)?.[1] ?? ""
    const named = (field: FieldType) => (typeof field === "object" ? field.name : String(field))
    assert.deepEqual(
      Object.entries<FieldType>(type.fields).map(([field, kind]) => [field, named(kind)]),
      fieldsInC(body, constants),
    )
  }
})

test("a command's number is what ioctl's macros make of its size and letter", () => {
  const encode = (direction: number, number: number, size: number) =>
    ((direction << 30) | (size << 16) | ("u".charCodeAt(0) << 8) | number) >>> 0
  const [read, both] = [2, 3]
  assert.equal(ublk.Command.getDevInfo, encode(read, 0x02, 32))
  assert.equal(ublk.Command.addDev, encode(both, 0x04, 32))
  assert.equal(ublk.Command.updateSize, encode(both, 0x15, 32))
  assert.equal(constants.get("UBLK_COMMIT_AND_FETCH_REQ"), encode(both, 0x21, 16))
})

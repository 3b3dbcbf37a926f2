import assert from "node:assert/strict"
import { test } from "node:test"
import { constantsIn, fieldsInC, readHeader } from "../testing/c-header.ts"
import * as abi from "./enclave.ts"
import type { FieldType, Struct } from "./struct.ts"

const header = readHeader("abi/enclave.h")
const constants = constantsIn(header)

type AnyStruct = Struct<Readonly<Record<string, FieldType>>>
const ours = new Map<string, AnyStruct>()
for (const value of Object.values(abi)) {
  if (typeof value === "object" && "offsets" in value) ours.set(value.name, value as AnyStruct)
}

test("every struct of abi/enclave.h has the same fields here", () => {
  const structs = Array.from(header.matchAll(/^struct (tresor_\w+) \{([^}]*)\};/gm))
  assert.equal(structs.length, ours.size)
  for (const [, name, body] of structs) {
    const found = ours.get(name!)
    assert.ok(found, `struct ${name} is missing`)
    const fields = Object.entries(found.fields).map(([field, type]) => [
      field,
      typeof type === "object" ? type.name : String(type),
    ])
    assert.deepEqual(fields, fieldsInC(body!, constants), `struct ${name}`)
  }
})

test("every struct has the size the header asserts", () => {
  const asserts = Array.from(header.matchAll(/_Static_assert\(sizeof\(struct (\w+)\) == (\d+)/g))
  assert.equal(asserts.length, ours.size)
  for (const [, name, size] of asserts) assert.equal(ours.get(name!)?.size, Number(size), name)
})

test("every number is the header's", () => {
  const tables: [string, Readonly<Record<string, number>>][] = [
    ["TRESOR_OP_", abi.Op],
    ["TRESOR_PURPOSE_", abi.Purpose],
    ["TRESOR_KDF_", abi.KdfType],
    ["TRESOR_", abi.HashType],
    ["TRESOR_", abi.CipherType],
    ["TRESOR_POLICY_", abi.SealPolicy],
    ["TRESOR_", abi.Mode],
    ["TRESOR_CPU_", abi.Cpu],
  ]
  for (const [prefix, table] of tables) {
    for (const [name, value] of Object.entries(table)) {
      const constant = prefix + name.toUpperCase().replaceAll("-", "_")
      // The header writes CPU bits as shifts inside parentheses.
      assert.equal(constants.get(constant), value, constant)
    }
  }
  for (const [name, value] of Object.entries(abi.Status)) {
    const constant = name === "ok" ? "TRESOR_OK" : `TRESOR_E_${name.toUpperCase()}`
    assert.equal(constants.get(constant), value, constant)
  }
  const limits: [number, string][] = [
    [abi.ABI_VERSION, "TRESOR_ABI_VERSION"],
    [abi.ANY_SLOT, "TRESOR_ANY_SLOT"],
    [abi.KEYSLOT_TRY, "TRESOR_KEYSLOT_TRY"],
    [abi.Limit.threads, "TRESOR_THREADS"],
    [abi.Limit.keyslots, "TRESOR_KEYSLOTS"],
    [abi.Limit.volumes, "TRESOR_VOLUMES"],
    [abi.Limit.ranges, "TRESOR_RANGES"],
    [abi.Limit.rangeSize, "TRESOR_RANGE_SIZE"],
    [abi.Limit.secretSize, "TRESOR_SECRET_SIZE"],
    [abi.Limit.stripes, "TRESOR_STRIPES"],
    [abi.SELFTESTS.length, "TRESOR_TESTS"],
  ]
  for (const [value, name] of limits) assert.equal(value, constants.get(name), name)
})

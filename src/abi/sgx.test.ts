import assert from "node:assert/strict"
import { test } from "node:test"
import { constantsIn, fieldsInC, readHeader } from "../testing/c-header.ts"
import * as sgx from "./sgx.ts"

const header = readHeader("abi/sgx.h")

for (const ours of [sgx.sigstruct, sgx.report])
  test(`struct ${ours.name} is abi/sgx.h's`, () => {
    const body = new RegExp(`^struct ${ours.name} \\{([^}]*)\\}`, "m").exec(header)?.[1]
    assert.ok(body !== undefined)
    assert.deepEqual(
      Object.entries(ours.fields).map(([field, type]) => [field, String(type)]),
      fieldsInC(body, constantsIn(header)),
    )
  })

test("sizes are those the header asserts", () => {
  const sizes = new Map(
    [...header.matchAll(/_Static_assert\(sizeof\(struct (\w+)\) == (\w+)/g)].map(([, name, size]) => [
      name,
      constantsIn(header).get(size!) ?? Number(size),
    ]),
  )
  assert.equal(sgx.sigstruct.size, sizes.get("sgx_sigstruct"))
  assert.equal(sgx.report.size, sizes.get("sgx_report"))
  assert.equal(sgx.TARGET_INFO_SIZE, sizes.get("sgx_target_info"))
})

import assert from "node:assert/strict"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { newRecord, readRecord, writeRecord } from "./record.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-record-"))
after(() => rmSync(folder, { recursive: true }))

test("a record reads back, private, without a left-over", () => {
  const path = join(folder, "new", "legacy.json")
  assert.equal(readRecord(path), null)
  const record = newRecord({ type: "argon2id", time: 4, memoryKib: 65536, lanes: 1 })
  assert.equal(record.sealed, null)
  const sealed = Buffer.alloc(768, 5)
  writeRecord(path, { ...record, sealed })
  assert.deepEqual(readRecord(path), { ...record, sealed })
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(join(folder, "new")), ["legacy.json"])
})

test("a damaged record is refused, not replaced", () => {
  const path = join(folder, "damaged.json")
  for (const text of ["", "{}", '{"version":2}']) {
    writeFileSync(path, text)
    assert.throws(() => readRecord(path), { code: "RECORD_DAMAGED", exitCode: 4 })
    assert.equal(readFileSync(path, "utf8"), text)
  }
})

import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { ROWS, SectorBatch } from "./sector-batch.ts"

test("rows have the columns of addon/io/sectors.c", () => {
  const source = readFileSync(new URL("../../addon/io/sectors.c", import.meta.url), "utf8")
  const names = /^enum \{ ([A-Z, ]+), COLUMNS \};$/m.exec(source)?.[1]?.split(", ") ?? []
  assert.deepEqual([...names].sort(), ["AT", "FROM", "LENGTH", "OFFSET", "RESULT", "SECTOR"])
  const batch = new SectorBatch(1 << 20)
  assert.equal(batch.table.length, ROWS * names.length)
  batch.add(4096, 512, 8, 16)
  batch.add(8192, 1024, 24, 32)
  const column = (row: number, name: string) => batch.table[row * names.length + names.indexOf(name)]
  for (const [row, offset, length, at, from] of [
    [0, 4096, 512, 8, 16],
    [1, 8192, 1024, 24, 32],
  ] as const) {
    assert.equal(column(row, "OFFSET"), (1 << 20) + offset)
    assert.equal(column(row, "SECTOR"), offset / 512)
    assert.equal(column(row, "LENGTH"), length)
    assert.equal(column(row, "AT"), at)
    assert.equal(column(row, "FROM"), from)
    assert.equal(column(row, "RESULT"), 0)
  }
  batch.table[names.length + names.indexOf("RESULT")] = 5
  assert.deepEqual([batch.failed(0), batch.failed(1)], [false, true])
  assert.deepEqual(batch.moved(), { rows: 1, bytes: 512 })
})

import assert from "node:assert/strict"
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { type Layer, type MountRecord, readRecords, removeRecord, saveRecord, undoLayers } from "./layers.ts"

const volume: Layer = { kind: "volume", name: "work" }
const fuse: Layer = { kind: "fuse", directory: "/run/tresor/.mounts/work", made: true }
const loop: Layer = { kind: "loop", device: "/dev/loop7" }
const filesystem: Layer = { kind: "filesystem", directory: "/mnt" }
const stack = [volume, fuse, loop, filesystem]

/** Undoes all but the kinds named; returns what was tried. */
async function undoBut(...failing: readonly Layer["kind"][]) {
  const tried: string[] = []
  const undone = await undoLayers(stack, async (layer) => {
    tried.push(layer.kind)
    if (failing.includes(layer.kind)) throw new Error(`${layer.kind} is busy`)
  })
  return { tried, ...undone }
}

test("layers are undone from the top", async () => {
  const { tried, left, failures } = await undoBut()
  assert.deepEqual(tried, ["filesystem", "loop", "fuse", "volume"])
  assert.deepEqual([left, failures], [[], []])
})

test("what a mounted filesystem writes through is left standing, and said", async () => {
  const { tried, left, failures } = await undoBut("filesystem")
  assert.deepEqual(tried, ["filesystem"])
  assert.deepEqual(left, stack)
  assert.equal(failures[0], "filesystem is busy")
  assert.match(failures.at(-1)!, /open volume work is left/)
})

test("the layer below one that fails is tried; the volume is not closed under it", async () => {
  const { tried, left } = await undoBut("loop")
  assert.deepEqual(tried, ["filesystem", "loop", "fuse"])
  assert.deepEqual(left, [volume, loop])
})

const root = mkdtempSync(join(tmpdir(), "tresor-layers-"))
after(() => rmSync(root, { recursive: true }))

test("a record comes back as it was saved, is private, and goes", () => {
  const record: MountRecord = { version: 1, name: "work", path: "/a b.img", directory: "/mnt", layers: stack }
  saveRecord(root, record)
  assert.deepEqual(readRecords(root), [record])
  assert.equal(statSync(join(root, ".mounts/work.json")).mode & 0o777, 0o600)
  writeFileSync(join(root, ".mounts/damaged.json"), '{"version":1')
  assert.deepEqual(readRecords(root), [record])
  removeRecord(root, record)
  assert.deepEqual(readRecords(root), [])
})

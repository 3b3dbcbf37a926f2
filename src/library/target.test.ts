import assert from "node:assert/strict"
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { examineTarget, withTarget } from "./target.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-target-"))
after(() => rmSync(folder, { recursive: true }))

const SIZE = 1 << 20
let files = 0
const file = (content: Uint8Array | string = Buffer.alloc(SIZE)): string => {
  const path = join(folder, String(++files))
  writeFileSync(path, content)
  return path
}
const overwrite = async (target: Awaited<ReturnType<typeof examineTarget>>) =>
  withTarget(target, (device) => device.write(0, Buffer.alloc(512, 0xff)))

test("a file that stayed as it was examined is written", async () => {
  const path = file()
  await overwrite(await examineTarget(path, { size: undefined, force: false }))
  assert.equal(readFileSync(path)[0], 0xff)
})

for (const force of [false, true]) {
  for (const size of [undefined, BigInt(2 * SIZE)]) {
    const how = `${size === undefined ? "as it is" : "to be enlarged"}${force ? ", with force" : ""}`
    test(`a file exchanged for a link between the look and the write is not written (${how})`, async () => {
      const [path, victim] = [file(size === undefined ? undefined : ""), file("somebody's")]
      const target = await examineTarget(path, { size, force })
      renameSync(path, `${path}.away`)
      symlinkSync(victim, path)
      await assert.rejects(overwrite(target), { code: "TARGET_CHANGED", exitCode: 5 })
      assert.equal(readFileSync(victim, "utf8"), "somebody's")
    })
  }
}

test("a file that was made between the look and the write is not written", async () => {
  const path = join(folder, "new")
  const target = await examineTarget(path, { size: BigInt(SIZE), force: true })
  writeFileSync(path, "somebody's")
  await assert.rejects(overwrite(target), { code: "EEXIST" })
  assert.equal(readFileSync(path, "utf8"), "somebody's")
})

test("data written between the look and the write are not overwritten, unless that was asked for", async () => {
  const path = file()
  const target = await examineTarget(path, { size: undefined, force: false })
  const forced = await examineTarget(path, { size: undefined, force: true })
  writeFileSync(path, "somebody's", { flag: "r+" })
  const { size } = statSync(path)
  await assert.rejects(overwrite(target), { code: "TARGET_EXISTS", exitCode: 5, message: /the file holds data/ })
  assert.equal(readFileSync(path, "latin1").slice(0, 10), "somebody's")
  assert.equal(statSync(path).size, size)
  await overwrite(forced)
  assert.equal(readFileSync(path)[0], 0xff)
})

/** Block devices, which need root: loop devices over scratch files. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { openStore } from "../../src/store/open.ts"
import { succeed } from "../nbd/harness.ts"

const MIB = 1 << 20

async function withLoop(sectorSize: number, body: (device: string, file: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tresor-loop-"))
  const file = join(folder, "file")
  writeFileSync(file, randomBytes(8 * MIB))
  const options = ["--find", "--show", "--sector-size", String(sectorSize)]
  const device = (await succeed("losetup", ...options, file)).trim()
  try {
    await body(device, file)
  } finally {
    await succeed("losetup", "--detach", device)
    rmSync(folder, { recursive: true })
  }
}

for (const direct of [false, true]) {
  for (const sectorSize of [512, 4096]) {
    test(`a block device${direct ? " past the cache" : ""} with sectors of ${sectorSize}`, () =>
      withLoop(sectorSize, async (device, file) => {
        const store = await openStore(device, { readOnly: false, direct })
        try {
          assert.equal(store.size, 8 * MIB)
          const model = readFileSync(file)
          for (const [offset, length] of [
            [0, 4096],
            [512, 512],
            [4096, 3 * MIB],
            [5 * MIB + 512, 100_352],
            [8 * MIB - 512, 512],
          ] as const) {
            const bytes = randomBytes(length)
            // Past the cache whole blocks only, which the device says.
            if (direct && (offset | length) % sectorSize !== 0) {
              await assert.rejects(store.write(offset, bytes), { code: "EINVAL" })
              continue
            }
            await store.write(offset, bytes)
            bytes.copy(model, offset)
          }
          const read = Buffer.alloc(8 * MIB)
          await store.read(0, read)
          assert.ok(read.equals(model))
          await store.flush()
          assert.ok(readFileSync(file).equals(model))
          await store.discard(MIB, MIB)
          model.fill(0, MIB, 2 * MIB)
          await store.read(0, read)
          assert.ok(read.equals(model))
        } finally {
          await store.close()
        }
      }))
  }
}

test("a device in use is busy, and tells so", () =>
  withLoop(512, async (device) => {
    const store = await openStore(device, { readOnly: false, direct: false })
    await assert.rejects(openStore(device, { readOnly: false, direct: false }), { code: "STORE_BUSY", exitCode: 5 })
    await store.close()
    await (await openStore(device, { readOnly: true, direct: true })).close()
  }))

test("a device that grew is found to have grown", () =>
  withLoop(512, async (device, file) => {
    const store = await openStore(device, { readOnly: false, direct: false })
    try {
      truncateSync(file, 12 * MIB)
      await succeed("losetup", "--set-capacity", device)
      assert.equal(await store.refresh(), 12 * MIB)
      await store.write(12 * MIB - 512, randomBytes(512))
    } finally {
      await store.close()
    }
  }))

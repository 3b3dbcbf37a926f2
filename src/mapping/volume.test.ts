/** What a mapping does before it exists: it claims the backing device. The rest needs the kernel module: test/vm. */
import assert from "node:assert/strict"
import { linkSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { openStore } from "../store/open.ts"
import { KernelVolume } from "./volume.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-mapping-"))
after(() => rmSync(folder, { recursive: true }))
const busy = { code: "STORE_BUSY", exitCode: 5 }

test("a mapping and a volume over NBD keep off each other, whatever the name, and readers share", async () => {
  const path = join(folder, "file")
  writeFileSync(path, "")
  truncateSync(path, 1 << 20)
  const other = join(folder, "other")
  linkSync(path, other)
  const mapped = (name: string, where = path, readOnly = false, claims?: readonly number[]) =>
    KernelVolume.open({
      name: `tresor-test-${process.pid}-${name}`,
      path: where,
      uuid: "11111111-2222-4333-8444-555555555555",
      offset: 0n,
      size: null,
      sectorSize: 512,
      ivTweak: 0n,
      readOnly,
      discards: false,
      warn() {},
      ...(claims && { claims }),
    })
  const opens = async (readOnly: boolean) => (await openStore(other, { readOnly, direct: false })).close()

  const volume = await mapped("one")
  for (const readOnly of [true, false]) {
    await assert.rejects(opens(readOnly), busy)
    await assert.rejects(mapped("two", other, readOnly), busy)
  }
  // Another process goes on with the same claims, and ends them with itself.
  await (await mapped("one", path, false, volume.claims)).close()
  await assert.rejects(opens(false), busy)
  await volume.close()
  await opens(false)

  const reader = await mapped("three", path, true)
  await opens(true)
  await assert.rejects(opens(false), busy)
  await assert.rejects(mapped("four", other), busy)
  await reader.close()

  const store = await openStore(path, { readOnly: false, direct: false })
  await assert.rejects(mapped("five", other), busy)
  await store.close()
  await (await mapped("six")).close()
})

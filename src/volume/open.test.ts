import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, test } from "node:test"
import type { Segment } from "../luks2/types.ts"
import { openVolumeOn } from "./open.ts"

// Not in /tmp, which may be a tmpfs without O_DIRECT.
const folder = mkdtempSync(join(process.cwd(), "node_modules", ".tresor-open-"))
after(() => rmSync(folder, { recursive: true }))
const path = join(folder, "disk")
writeFileSync(path, Buffer.alloc(1 << 20))

const segment: Segment = {
  cipher: "aes-xts-plain64",
  sectorSize: 512,
  keySize: 64,
  offset: 512n,
  size: null,
  ivTweak: 0n,
}

test("O_DIRECT is refused for a volume that begins inside a page, which may be in the cache with the header", async () => {
  const opened = await openVolumeOn(path, segment, { readOnly: false, direct: false })
  await opened.close()
  await assert.rejects(openVolumeOn(path, segment, { readOnly: false, direct: true }), {
    code: "STORE_UNFIT",
    message: /sectors of 512 from byte 512 on; leave --direct out$/,
  })
  const whole = await openVolumeOn(
    path,
    { ...segment, sectorSize: 4096, offset: 4096n },
    { readOnly: false, direct: true },
  )
  await whole.close()
})

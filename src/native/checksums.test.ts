/** Checksums against OpenSSL's SHA-256. */
import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { test } from "node:test"
import { checksums } from "./checksums.ts"

test("checksums are SHA-256 of each block, for one block and many, whole and short ones", async () => {
  const bytes = new Uint8Array(randomBytes(5 * 4096 + 100))
  for (const block of [64, 100, 512, 1024, 4096, 8192]) {
    for (const size of [1, 63, 64, block - 1, block, block + 1, 2 * block, 3 * block, 2 * block + 7, bytes.length]) {
      if (size > bytes.length) continue
      // From an odd address as well.
      for (const from of [0, 1]) {
        const some = bytes.subarray(from, from + size)
        const wanted = Array.from({ length: Math.ceil(some.length / block) }, (_, n) =>
          createHash("sha256")
            .update(some.subarray(n * block, (n + 1) * block))
            .digest(),
        )
        const found = await checksums(some, block)
        assert.deepEqual(Buffer.from(found), Buffer.concat(wanted), `${size} bytes in blocks of ${block}, from ${from}`)
      }
    }
  }
})

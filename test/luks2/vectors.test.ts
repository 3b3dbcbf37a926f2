/** Each header of vectors/luks2, judged by us and by cryptsetup. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { TresorError } from "../../src/base/errors.ts"
import { readCopies } from "../../src/header/copies.ts"
import { openFile } from "../../src/header/open.ts"
import { tokens } from "./token-vectors.ts"
import { imageOf, vectors } from "./vector-image.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-vectors-"))
after(() => rmSync(folder, { recursive: true, force: true }))

for (const vector of vectors) {
  test(`${vector.name}: ${vector.oddity}`, async () => {
    const path = join(folder, vector.name)
    const image = imageOf(vector)
    assert.equal(
      createHash("sha256").update(image).digest("hex"),
      vector.sha256,
      "the header is the one that was judged",
    )
    writeFileSync(path, image)
    truncateSync(path, 300 << 20)
    const device = await openFile(path, { readOnly: true })
    try {
      const read = readCopies(device)
      if (vector.tresor === "accepted") assert.equal((await read).header.headerSize, vector.headerSize ?? 16384)
      else await assert.rejects(read, (error) => error instanceof TresorError && error.exitCode === 4)
    } finally {
      await device.close()
    }
    const { status, stderr } = spawnSync("cryptsetup", ["luksDump", path], { encoding: "utf8" })
    assert.equal(status === 0 ? "accepted" : "refused", vector.cryptsetup, stderr)
    assert.equal(vector.cryptsetup !== vector.tresor, vector.because !== undefined, "a difference has its reason")
  })
}

for (const { oddity, token } of tokens) {
  test(`cryptsetup keeps a Tresor token as it is: ${oddity}`, () => {
    const path = join(folder, "token")
    writeFileSync(path, imageOf({ ...vectors.find(({ name }) => name === "plain")!, set: { "tokens.0": token } }))
    truncateSync(path, 300 << 20)
    const exported = spawnSync("cryptsetup", ["token", "export", "--token-id", "0", path], { encoding: "utf8" })
    assert.equal(exported.status, 0, exported.stderr)
    assert.deepEqual(JSON.parse(exported.stdout), token)
  })
}

test("there are vectors of both kinds, and few on which we differ", () => {
  const count = (verdict: string) => vectors.filter(({ cryptsetup }) => cryptsetup === verdict).length
  assert.ok(count("accepted") >= 100 && count("refused") >= 130, `${count("accepted")}, ${count("refused")}`)
  assert.ok(vectors.filter(({ because }) => because !== undefined).length <= 10)
})

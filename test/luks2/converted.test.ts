/** Volumes that were LUKS1 and that `cryptsetup convert` made LUKS2 of: digests of 20 bytes, whatever the hash. */
import assert from "node:assert/strict"
import { truncateSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { jsonOf } from "./edit-header.ts"

const place = new Place()

async function ok(command: string, ...args: string[]): Promise<string> {
  const done = command === "tresor" ? await place.tresor(args) : await run(command, args)
  assert.equal(done.code, 0, `${command} ${args.join(" ")}: ${done.stderr}`)
  return done.stdout
}

for (const hash of ["sha1", "sha256", "sha512"]) {
  test(`a volume converted from LUKS1 with ${hash} opens, is adopted, and opens with cryptsetup still`, async () => {
    const disk = place.file(`${hash}.img`, "")
    truncateSync(disk, 32 << 20)
    const keyFile = place.file(`${hash}.key`, "correct horse")
    await ok("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--hash", hash, "--iter-time", "10", disk, keyFile)
    await ok("cryptsetup", "convert", "-q", "--type", "luks2", disk)
    const { digests } = JSON.parse(jsonOf(disk))
    assert.equal(Buffer.from(digests["0"].digest, "base64").length, 20)
    assert.equal(digests["0"].hash, hash)
    await ok("tresor", "check", disk)
    await ok("tresor", "open", disk, "converted", "--key-file", keyFile)
    await ok("tresor", "close", "converted")
    const fresh = place.file("fresh", "another passphrase")
    const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    await ok("tresor", "adopt", disk, "--key-file", keyFile, "--new-key-file", fresh, "--no-recovery", ...kdf)
    await ok("tresor", "open", disk, "converted", "--key-file", fresh)
    await ok("tresor", "close", "converted")
    await ok("cryptsetup", "open", "--test-passphrase", "--key-file", keyFile, disk)
  })
}

test("a volume of cryptsetup's opens where no state directory can be made; one of Tresor's says why it does not", async () => {
  const disk = place.file("stateless.img", "")
  truncateSync(disk, 32 << 20)
  const keyFile = place.file("stateless.key", "correct horse")
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  await ok("cryptsetup", "luksFormat", "-q", "--type", "luks2", ...kdf, disk, keyFile)
  const env = { TRESOR_STATE_DIR: join(place.file("no-directory", ""), "state") }
  const opened = await place.tresor(["open", disk, "stateless", "--key-file", keyFile], { env })
  assert.equal(opened.code, 0, opened.stderr)
  await ok("tresor", "close", "stateless")
  const ours = await place.volume("ours.img")
  const refused = await place.tresor(["open", ours.path, "stateless", "--key-file", ours.keyFile], { env })
  assert.notEqual(refused.code, 0)
})

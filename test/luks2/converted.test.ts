/** Volumes that were LUKS1 and that `cryptsetup convert` made LUKS2 of: digests of 20 bytes, whatever the hash. */
import assert from "node:assert/strict"
import { truncateSync } from "node:fs"
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

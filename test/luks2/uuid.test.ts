/** A volume whose UUID another program changed: said by name, and set back. */
import assert from "node:assert/strict"
import { before, test } from "node:test"
import { Place, type Result, run } from "../cli/harness.ts"

const place = new Place()
const OTHER = "0d6f0f5e-4b0e-4f4a-9a63-5a2b8d0c6d11"
let path = ""
let keyFile = ""
let recovery = ""

before(async () => {
  recovery = place.path("recovery")
  keyFile = place.file("key", "correct horse")
  path = place.path("disk.img")
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const args = ["create", path, "--size", "32M", "--key-file", keyFile, "--recovery-key-file", recovery, ...kdf]
  const made = await place.tresor(args)
  assert.equal(made.code, 0, made.stderr)
})

test("a changed UUID is named with the way out, for the passphrase and for the recovery key, and can be set back", async () => {
  const uuid = (await place.tresor(["uuid", path])).stdout.trim()
  const changed = await run("cryptsetup", ["luksUUID", "-q", path, "--uuid", OTHER])
  assert.equal(changed.code, 0, changed.stderr)
  const says = (done: Result) => {
    assert.notEqual(done.code, 0)
    assert.match(done.stderr, new RegExp(`UUID was ${uuid} and is ${OTHER} now.*\`tresor uuid .* ${uuid}\``))
  }
  says(await place.tresor(["open", path, "work", "--key-file", keyFile]))
  says(await place.tresor(["open", path, "work", "--key-file", recovery]))
  says(await place.tresor(["recover", path, "--recovery-key-file", recovery, "--check-only"]))
  const third = await place.tresor(["uuid", path, "11111111-4b0e-4f4a-9a63-5a2b8d0c6d11"])
  assert.equal(third.code, 1, "any other UUID would be as wrong")
  assert.equal((await place.tresor(["uuid", path, uuid])).code, 0)
  for (const key of [keyFile, recovery]) {
    const opened = await place.tresor(["open", path, "work", "--key-file", key])
    assert.equal(opened.code, 0, opened.stderr)
    await place.tresor(["close", "work"])
  }
})

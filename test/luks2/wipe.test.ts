/** `tresor wipe` beside `cryptsetup luksErase`: every keyslot goes, whatever state the volume is in. */
import assert from "node:assert/strict"
import { truncateSync } from "node:fs"
import { test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { editHeader, type Json, jsonOf, readAt } from "./edit-header.ts"

const place = new Place()

async function cryptsetup(...args: string[]): Promise<string> {
  const done = await run("cryptsetup", args)
  assert.equal(done.code, 0, `cryptsetup ${args.join(" ")}: ${done.stderr}`)
  return done.stdout
}

async function foreign(name: string): Promise<{ readonly disk: string; readonly keyFile: string }> {
  const disk = place.file(name, "")
  truncateSync(disk, 32 << 20)
  const keyFile = place.file(`${name}.key`, "correct horse")
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  await cryptsetup("luksFormat", "-q", "--type", "luks2", ...kdf, disk, keyFile)
  return { disk, keyFile }
}

async function wiped(disk: string): Promise<void> {
  const area = readAt(disk, 32768, 1 << 20)
  const done = await place.tresor(["wipe", disk, "--batch-mode"])
  assert.equal(done.code, 0, done.stderr)
  const left = Object.values<Json>(JSON.parse(jsonOf(disk)).keyslots)
  assert.deepEqual(
    left.filter(({ type }) => type !== "reencrypt"),
    [],
  )
  const now = readAt(disk, 32768, 1 << 20)
  const same = now.filter((byte, index) => byte === area[index]).length
  assert.ok(same < area.length / 100, "the key material is still there")
  await cryptsetup("luksDump", disk)
}

test("wipe destroys the keyslots of a volume with a pending reencryption", async () => {
  const { disk, keyFile } = await foreign("pending.img")
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  await cryptsetup("reencrypt", "-q", "--init-only", "--key-file", keyFile, ...kdf, disk)
  assert.match(jsonOf(disk), /online-reencrypt/)
  await wiped(disk)
})

test("wipe destroys the keyslots of a volume with a requirement nobody knows", async () => {
  const { disk } = await foreign("required.img")
  editHeader(disk, {
    json: (metadata) => {
      metadata.config.requirements = { mandatory: ["of-the-future"] }
    },
  })
  const label = await place.tresor(["label", disk, "name"])
  assert.equal(label.code, 4, "everything else is refused")
  await wiped(disk)
})

/** An upgrade of Tresor: a keyslot sealed to the enclave before (policy mrenclave) opens in the new one when its user says so. */
import assert from "node:assert/strict"
import { renameSync, writeFileSync } from "node:fs"
import { before, test } from "node:test"
import { anotherVersion } from "./another-version.ts"
import { Place, type Result, run } from "./harness.ts"

const place = new Place()
let before_ = { tresor: "", mrenclave: "" }
let ours = ""

const old = (...args: readonly string[]): Promise<Result> => run(before_.tresor, args, { env: place.env })

before(async () => {
  before_ = await anotherVersion(place.path("before"))
  const info = JSON.parse((await place.tresor(["enclave", "info", "--json"])).stdout)
  ours = info.mrenclave
  assert.notEqual(ours, before_.mrenclave)
})

/** As the version before made it: keyslot 0 sealed to its enclave. */
async function sealedBefore(name: string): Promise<{ readonly path: string; readonly keyFile: string }> {
  const keyFile = place.file(`${name}.key`, "correct horse")
  const path = place.path(name)
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const how = ["--size", "32M", "--key-file", keyFile, "--no-recovery", "--seal-policy", "mrenclave", ...kdf]
  const made = await old("create", path, ...how)
  assert.equal(made.code, 0, made.stderr)
  return { path, keyFile }
}

async function opens(path: string, keyFile: string, more: readonly string[] = []): Promise<Result> {
  const opened = await place.tresor(["open", path, "work", "--key-file", keyFile, ...more])
  if (opened.code === 0) await place.tresor(["close", "work"])
  return opened
}

async function sealer(path: string): Promise<string> {
  const { metadata } = JSON.parse((await place.tresor(["dump", path, "--json"])).stdout)
  return (Object.values(metadata.tokens)[0] as { readonly enclave: { readonly mrenclave: string } }).enclave.mrenclave
}

test("without a terminal nobody can be asked: refused, with the command that would do it", async () => {
  const { path, keyFile } = await sealedBefore("unasked.img")
  const refused = await opens(path, keyFile)
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, new RegExp(`use --succeed ${ours}\n$`))
  assert.equal(await sealer(path), before_.mrenclave)
})

test("named on the command line the enclave takes the keyslot over, once", async () => {
  const { path, keyFile } = await sealedBefore("named.img")
  const opened = await opens(path, keyFile, ["--succeed", ours])
  assert.equal(opened.code, 0, opened.stderr)
  assert.match(opened.stderr, /^tresor: keyslot 0 of work is sealed to the enclave of this version from now on$/m)
  assert.equal(await sealer(path), ours)
  const again = await opens(path, keyFile)
  assert.deepEqual([again.code, again.stderr], [0, ""])
  // And no longer in the one before.
  assert.equal((await old("open", path, "work", "--key-file", keyFile)).code, 2)
})

test("doctor lists the images that are kept, and the open volume that needs one", async () => {
  const { path, keyFile } = await sealedBefore("listed.img")
  assert.equal((await place.tresor(["open", path, "listed", "--key-file", keyFile, "--locked"])).code, 0)
  const { stdout } = await place.tresor(["doctor", "--json"])
  await place.tresor(["close", "listed"])
  const { found } = JSON.parse(stdout).checks.find(({ id }: { readonly id: string }) => id === "kept-images")
  assert.match(found, new RegExp(`${ours.slice(0, 16)}… \\(version 2, this installation's; `))
  assert.match(
    found,
    new RegExp(`${before_.mrenclave.slice(0, 16)}… \\(version 2, for listed; .*/enclaves/${before_.mrenclave}\\)`),
  )
})

test("a command on keyslots does not ask, and says which one does", async () => {
  const { path, keyFile } = await sealedBefore("keyslots.img")
  const fresh = place.file("fresh.key", "another passphrase")
  const refused = await place.tresor(["key", "add", path, "--key-file", keyFile, "--new-key-file", fresh])
  assert.equal(refused.code, 2)
  assert.match(
    refused.stderr,
    /it opens for enclave .*; `tresor open` asks whether .* may take it over; else the recovery/,
  )
})

test("another enclave than the one that runs cannot be named", async () => {
  const { path, keyFile } = await sealedBefore("misnamed.img")
  const refused = await opens(path, keyFile, ["--succeed", "ab".repeat(32)])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, new RegExp(`the enclave that runs is ${ours}\n$`))
  assert.equal(await sealer(path), before_.mrenclave)
})

test("a policy file that names the enclave is an answer", async () => {
  const { path, keyFile } = await sealedBefore("policy.img")
  const policy = place.file("policy.json", JSON.stringify({ version: 1, mrenclave: [ours], testing: true }))
  const opened = await opens(path, keyFile, ["--policy", policy])
  assert.equal(opened.code, 0, opened.stderr)
  assert.equal(await sealer(path), ours)
})

test("on a terminal it is asked, once for all tries: no leaves everything, yes moves the seal", async () => {
  const { path } = await sealedBefore("asked.img")
  const prompt = `Enter passphrase for ${path}: `
  const question = "(yes/no)? "
  const declined = await place.typed(
    ["open", path, "work"],
    [
      [prompt, "correct horse\n"],
      [question, "no\n"],
    ],
  )
  assert.equal(declined.code, 2)
  assert.match(declined.stdout, new RegExp(before_.mrenclave))
  assert.equal(await sealer(path), before_.mrenclave)
  const moved = await place.typed(
    ["open", path, "work"],
    [
      [prompt, "wrong\n"],
      [question, "yes\n"],
      [prompt, "correct horse\n"],
    ],
  )
  assert.equal(moved.code, 0, moved.stdout)
  await place.tresor(["close", "work"])
  assert.equal(await sealer(path), ours)
})

test("a wrong passphrase moves nothing", async () => {
  const { path } = await sealedBefore("wrong.img")
  const wrong = place.file("wrong.key", "incorrect horse")
  const refused = await opens(path, wrong, ["--succeed", ours])
  assert.deepEqual([refused.code, refused.stderr], [2, "No key available with this passphrase.\n"])
  assert.equal(await sealer(path), before_.mrenclave)
})

test("without the image of the enclave before there is the recovery key", async () => {
  const { path, keyFile } = await sealedBefore("lost.img")
  const kept = place.path(`state/enclaves/${before_.mrenclave}`)
  renameSync(kept, `${kept}.gone`)
  const refused = await opens(path, keyFile, ["--succeed", ours])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /it opens for enclave [0-9a-f]{16}… only .* tresor recover/)
  // One that somebody changed is none.
  renameSync(`${kept}.gone`, kept)
  writeFileSync(`${kept}/tresor.elf`, "changed")
  assert.equal((await opens(path, keyFile, ["--succeed", ours])).code, 2)
  assert.equal(await sealer(path), before_.mrenclave)
})

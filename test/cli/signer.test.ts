/** A checkout that signs its enclave with a key of its own says so when it seals a volume for that. */
import assert from "node:assert/strict"
import { cpSync, existsSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { generateSigner } from "../../src/enclave/image/keys.ts"
import { Place, root, run } from "./harness.ts"

const place = new Place()

test("create warns of a signer that is this checkout's alone, and of no other", async () => {
  const checkout = place.path("checkout")
  for (const each of [
    "dist",
    "addon/build",
    "enclave/enclave.conf",
    "enclave/build/tresor.elf",
    "enclave/build/vectors",
  ]) {
    cpSync(join(root, each), join(checkout, each), { recursive: true })
  }
  cpSync(join(root, "enclave/build/tresor.sigstruct"), join(checkout, "enclave/build/tresor.sigstruct"))
  const keyFile = place.file("key", "secret")
  const create = async (name: string, ...more: string[]) => {
    const words = ["create", place.path(name), "--size", "32M", "--key-file", keyFile, "--no-recovery", ...more]
    const { code, stderr } = await run(join(checkout, "dist/tresor"), [...words, "--pbkdf", "pbkdf2"], {
      env: place.env,
    })
    assert.equal(code, 0, stderr)
    return stderr
  }
  assert.doesNotMatch(await create("a.img"), /signer/)
  const key = join(checkout, "enclave/signer.pem")
  generateSigner(key)
  assert.ok(existsSync(key))
  assert.ok((await create("b.img")).includes(`sealed for the signer of this checkout only, ${key}; keep a copy`))
  assert.doesNotMatch(await create("c.img", "--portable"), /signer/)
})

/** Whom a seal trusts: this image, or the holder of a release key; and nobody whose key lies on the machine. */
import assert from "node:assert/strict"
import { createPublicKey, type KeyObject, sign } from "node:crypto"
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { before, test } from "node:test"
import { PRODUCT } from "../../src/enclave/image/files.ts"
import { throwAwayKey } from "../../src/enclave/image/keys.ts"
import { SIGNERS } from "../../src/enclave/release-signers.ts"
import { anotherVersion } from "./another-version.ts"
import { Place, type Result, run } from "./harness.ts"
import { copyInstallation } from "./installation.ts"

const place = new Place()
const keyFile = place.file("key", "correct horse")
const WAYS = ["--key-file", keyFile, "--no-recovery", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]

/** An installation of these programs, unless there is one. */
class Installation {
  readonly folder: string

  constructor(name: string) {
    this.folder = place.path(name)
    if (!existsSync(this.folder)) copyInstallation(this.folder)
  }

  tresor(...words: readonly string[]): Promise<Result> {
    return run(join(this.folder, "dist/tresor"), words, { env: place.env })
  }

  /** As its build ends. */
  async sign(): Promise<string> {
    const { code, stdout, stderr } = await run(
      process.execPath,
      [join(this.folder, "dist/sign-build.mjs"), this.folder],
      { env: place.env },
    )
    assert.equal(code, 0, stderr)
    return stdout
  }

  /** The product's image, by a key in a file. Its MRSIGNER. */
  async signWith(key: string): Promise<string> {
    const signed = await this.tresor("enclave", "sign", join(this.folder, PRODUCT.image), "--key", key, "--json")
    assert.equal(signed.code, 0, signed.stderr)
    return JSON.parse(signed.stdout).mrsigner
  }

  /** The same in two steps; the installation never sees the key. */
  async signElsewhere(key: KeyObject): Promise<string> {
    const [toSign, signature, publicKey] = ["tosign", "sig", "public.pem"].map((each) => join(this.folder, each))
    const image = join(this.folder, PRODUCT.image)
    assert.equal((await this.tresor("enclave", "sign", image, "--prepare", "--out", toSign!)).code, 0)
    writeFileSync(signature!, sign("sha256", readFileSync(toSign!), key))
    writeFileSync(publicKey!, createPublicKey(key).export({ type: "spki", format: "pem" }))
    const attached = ["--prepared", toSign!, "--attach", signature!, "--key", publicKey!, "--json"]
    const signed = await this.tresor("enclave", "sign", image, ...attached)
    assert.equal(signed.code, 0, signed.stderr)
    return JSON.parse(signed.stdout).mrsigner
  }

  /** Makes that key one whose holder releases. */
  release(mrsigner: string): void {
    appendFileSync(join(this.folder, SIGNERS), `${mrsigner} Example Ltd\n`)
  }

  async create(name: string, ...more: readonly string[]): Promise<string> {
    const path = place.path(name)
    const made = await this.tresor("create", path, "--size", "32M", ...WAYS, ...more)
    assert.equal(made.code, 0, made.stderr)
    return path
  }

  async open(path: string, ...more: readonly string[]): Promise<Result> {
    const opened = await this.tresor("open", path, "work", "--key-file", keyFile, ...more)
    if (opened.code === 0) assert.equal((await this.tresor("close", "work")).code, 0)
    return opened
  }

  async sealer(path: string): Promise<{ readonly policy: string; readonly mrenclave: string; mrsigner: string }> {
    const { metadata } = JSON.parse((await this.tresor("dump", path, "--json")).stdout)
    return (Object.values(metadata.tokens)[0] as { readonly enclave: never }).enclave
  }
}

function keyAt(path: string): string {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, throwAwayKey().export({ type: "pkcs8", format: "pem" }))
  return path
}

let here: Installation

before(() => {
  here = new Installation("here")
})

test("what is built here seals to its image alone, whatever the next build is signed with", async () => {
  const path = await here.create("local.img")
  assert.equal((await here.sealer(path)).policy, "mrenclave")
  const refused = await here.tresor(
    "create",
    place.path("not.img"),
    "--size",
    "32M",
    ...WAYS,
    "--seal-policy",
    "mrsigner",
  )
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /^tresor: error: Cannot seal with policy mrsigner: no release key signed this enclave/)
  assert.equal(existsSync(place.path("not.img")), false)

  const clone = new Installation("clone")
  await clone.signWith(keyAt(place.path("another.pem")))
  const opened = await clone.open(path)
  assert.deepEqual([opened.code, opened.stderr], [0, ""])
})

test("a release key's images open each other's seals, and a stranger's open none", async () => {
  // Its key is elsewhere: 256 bytes go there, a signature comes back.
  const key = throwAwayKey()
  const release = new Installation("release")
  release.release(await release.signElsewhere(key))
  assert.match(await release.sign(), /tresor\.elf, signature up to date/)
  const path = await release.create("released.img", "--seal-policy", "mrsigner")
  assert.equal((await release.sealer(path)).policy, "mrsigner")
  const status = await release.tresor("doctor", "--json")
  const signer = JSON.parse(status.stdout).checks.find(({ id }: { readonly id: string }) => id === "signer")
  assert.equal(signer.found, "release key of Example Ltd")

  // Its next version; and one that root of this machine makes, with a key of its own and a list that says so.
  const [next, hostile] = await Promise.all(
    ["next", "hostile"].map(async (name) => {
      await anotherVersion(place.path(name))
      return new Installation(name)
    }),
  )
  await next!.signElsewhere(key)
  assert.deepEqual(await next!.open(path).then(({ code, stderr }) => [code, stderr]), [0, ""])
  hostile!.release(await hostile!.signWith(keyAt(place.path("hostile.pem"))))
  const refused = await hostile!.open(path)
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /is sealed to another enclave .* use --succeed [0-9a-f]{64}\n$/)
})

test("volumes of a signing key that an earlier version left: it is used once more, removed, and they open", async () => {
  // As that version made them: it trusted its key, which lay in the state directory.
  const former = new Installation("former")
  const key = keyAt(place.path("state/signer.pem"))
  former.release(await former.signWith(key))
  const path = await former.create("former.img", "--seal-policy", "mrsigner")
  const { mrenclave } = await former.sealer(path)

  const upgraded = new Installation("upgraded")
  cpSync(join(former.folder, PRODUCT.sigstruct), join(upgraded.folder, PRODUCT.sigstruct))
  assert.match(await upgraded.sign(), /^removed .*state\/signer\.pem; .*\n.*tresor\.elf, signed$/m)
  assert.equal(existsSync(key), false)
  const unasked = await upgraded.open(path)
  assert.equal(unasked.code, 2)
  assert.match(unasked.stderr, new RegExp(`use --succeed ${mrenclave}\n$`))
  const opened = await upgraded.open(path, "--succeed", mrenclave)
  assert.equal(opened.code, 0, opened.stderr)
  const now = await upgraded.sealer(path)
  assert.deepEqual([now.policy, now.mrenclave], ["mrenclave", mrenclave])
  assert.deepEqual(await upgraded.open(path).then(({ code, stderr }) => [code, stderr]), [0, ""])
  assert.equal((await former.open(path)).code, 0, "the image is what counts now, not who signed it")
})

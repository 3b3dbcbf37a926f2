/** One damaged keyslot or token costs nothing but itself: everything else opens, changes and is kept. */
import assert from "node:assert/strict"
import { copyFileSync } from "node:fs"
import { before, test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { editHeader, type Json, jsonOf } from "./edit-header.ts"

const place = new Place()
let path = ""
let keyFile = ""
let recovery = ""
let portable = ""

const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]

before(async () => {
  keyFile = place.file("key", "correct horse")
  portable = place.file("portable", "battery staple")
  recovery = place.path("recovery")
  path = place.path("disk.img")
  await ok("create", path, "--size", "32M", "--key-file", keyFile, "--recovery-key-file", recovery, ...KDF)
  await ok("key", "add", path, "--key-file", keyFile, "--new-key-file", portable, "--portable", ...KDF)
})

async function ok(...args: string[]): Promise<string> {
  const done = await place.tresor(args)
  assert.equal(done.code, 0, `${args.join(" ")}: ${done.stderr}`)
  return done.stdout + done.stderr
}

function odd(name: string, change: (metadata: Json) => void): string {
  const copy = place.path(name)
  copyFileSync(path, copy)
  editHeader(copy, { json: (metadata) => void change(metadata) })
  return copy
}

async function opens(disk: string, key: string): Promise<void> {
  await ok("open", disk, "odd", "--key-file", key)
  await ok("close", "odd")
}

const ours = (metadata: Json): Json => Object.values<Json>(metadata.tokens).find(({ type }) => type === "tresor")

/** What is odd: which objects cannot be used, and whether Tresor's own passphrase still opens. */
const cases: readonly (readonly [string, (metadata: Json) => void, RegExp, boolean])[] = [
  ["a token without .enclave", (m) => delete ours(m).enclave, /enclave is missing/, false],
  ["a token of version 7", (m) => (ours(m).version = 7), /version 7 is unknown/, false],
  ["a token with bad base64", (m) => (ours(m).sealed = `?${ours(m).sealed.slice(1)}`), /sealed is not base64/, false],
  ["a token with an empty mac", (m) => (ours(m).mac = {}), /mac\.keyslots is missing/, false],
  ["a keyslot with a bad salt", (m) => (m.keyslots["2"].kdf.salt = "!"), /kdf\.salt is not base64/, true],
  ["a keyslot of priority 9", (m) => (m.keyslots["2"].priority = 9), /priority is not a whole number/, true],
  ["a keyslot of no iterations", (m) => (m.keyslots["2"].kdf.iterations = 0), /iterations is not/, true],
  ["a keyslot of unknown KDF", (m) => (m.keyslots["2"].kdf.type = "scrypt"), /kdf\.type "scrypt" is unknown/, true],
]

for (const [what, change, fact, stillOpens] of cases) {
  test(`${what}: named, kept, and nothing else is locked out`, async () => {
    const disk = odd("odd.img", change)
    const before = JSON.parse(jsonOf(disk))
    const check = await place.tresor(["check", disk])
    assert.match(check.stdout, fact)
    assert.equal(check.code, /unknown/.test(fact.source) ? 0 : 4, check.stdout)
    assert.match(await ok("key", "list", disk), fact)
    await ok("dump", disk)
    await opens(disk, recovery)
    await opens(disk, stillOpens ? keyFile : portable)
    if (!stillOpens) {
      const refused = await place.tresor(["open", disk, "odd", "--key-file", keyFile])
      assert.equal(refused.code, 2, refused.stderr)
      assert.match(refused.stderr, fact, "the right passphrase is called wrong, and nobody says why")
      assert.match(refused.stderr, /recover/)
    }
    const fresh = place.file("fresh", "new passphrase")
    const recover = ["recover", disk, "--recovery-key-file", recovery, "--new-key-file", fresh, "--batch-mode", ...KDF]
    await ok(...recover)
    await opens(disk, fresh)
    const after = JSON.parse(jsonOf(disk))
    for (const kind of ["keyslots", "tokens"]) {
      for (const [number, object] of Object.entries<Json>(before[kind])) {
        // The MACs are made anew, in the tokens that can be read.
        const { mac: _, ...kept } = after[kind][number]
        const { mac: __, ...had } = object
        assert.deepEqual(kept, had, `${kind}.${number}`)
      }
    }
    const theirs = await run("cryptsetup", ["open", "--test-passphrase", disk, "--key-file", recovery])
    assert.equal(theirs.code, 0, theirs.stderr)
  })
}

test("a digest that cannot be read still lets the header be shown", async () => {
  const disk = odd("digest.img", (metadata) => {
    metadata.digests["0"].salt = "?"
    metadata.tokens = {}
  })
  await ok("dump", disk)
  await ok("key", "list", disk)
  const refused = await place.tresor(["open", disk, "odd", "--key-file", portable])
  assert.equal(refused.code, 4)
  assert.match(refused.stderr, /digests\.0\.salt is not base64/)
})

test("a keyslot whose hash only cryptsetup has is named when the passphrase opens nothing", async () => {
  const disk = odd("whirlpool.img", (metadata) => {
    metadata.keyslots["2"].kdf.hash = "whirlpool"
  })
  await opens(disk, keyFile)
  const refused = await place.tresor(["open", disk, "odd", "--key-file", portable])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /keyslot 2 has the hash whirlpool, which only cryptsetup supports/)
})

test("cryptsetup's persistent allow-discards counts as if it were given", async () => {
  const disk = place.path("discards.img")
  copyFileSync(path, disk)
  const discards = async () => {
    await ok("open", disk, "odd", "--key-file", keyFile)
    const { discards: on } = JSON.parse(await ok("status", "odd", "--json"))
    await ok("close", "odd")
    return on
  }
  assert.equal(await discards(), false)
  editHeader(disk, {
    json: (metadata) => {
      metadata.config.flags = ["allow-discards"]
    },
  })
  assert.equal(await discards(), true)
})

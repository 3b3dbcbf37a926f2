/**
 * Headers changed by somebody who has the disk and no passphrase (CVE-2025-59054
 * and its kin): every command names it, none sends the owner to another program.
 */
import assert from "node:assert/strict"
import { copyFileSync, readFileSync } from "node:fs"
import { before, test } from "node:test"
import { Place } from "../cli/harness.ts"
import { editHeader, type Json } from "./edit-header.ts"

const place = new Place()
let path = ""
let keyFile = ""
let recovery = ""

before(async () => {
  keyFile = place.file("key", "correct horse")
  recovery = place.path("recovery")
  path = place.path("disk.img")
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const args = ["create", path, "--size", "32M", "--key-file", keyFile, "--recovery-key-file", recovery, ...kdf]
  const made = await place.tresor(args)
  assert.equal(made.code, 0, made.stderr)
})

function tampered(name: string, change: (metadata: Json) => void): string {
  const copy = place.path(name)
  copyFileSync(path, copy)
  editHeader(copy, { json: change })
  return copy
}

const changes: Readonly<Record<string, (metadata: Json) => void>> = {
  cipher_null: (metadata) => {
    metadata.segments["0"].encryption = "cipher_null-ecb"
  },
  "another cipher": (metadata) => {
    metadata.segments["0"].encryption = "aes-cbc-essiv:sha256"
  },
  "a token that was damaged along with the cipher": (metadata) => {
    metadata.segments["0"].encryption = "cipher_null-ecb"
    for (const token of Object.values<Json>(metadata.tokens)) delete token.enclave
  },
  "a token of another version along with the cipher": (metadata) => {
    metadata.segments["0"].encryption = "serpent-xts-plain64"
    for (const token of Object.values<Json>(metadata.tokens)) if (token.type === "tresor") token.version = 2
  },
  "a linear segment": (metadata) => {
    metadata.segments["0"] = { type: "linear", offset: "16777216", size: "dynamic" }
  },
  "a second segment": (metadata) => {
    metadata.segments["0"].size = "1048576"
    metadata.segments["1"] = { ...metadata.segments["0"], offset: "17825792", size: "dynamic", iv_tweak: "2048" }
    metadata.digests["0"].segments = ["0", "1"]
  },
  "a keyslot area without encryption": (metadata) => {
    metadata.keyslots["1"].area.encryption = "cipher_null-ecb"
  },
  "a digest of an unknown hash": (metadata) => {
    metadata.digests["0"].hash = "whirlpool"
  },
  "a reencryption to no cipher": (metadata) => {
    const now = metadata.segments["0"]
    const area = { type: "none", offset: "8388608", size: "4096" }
    metadata.keyslots["9"] = { type: "reencrypt", key_size: 1, mode: "reencrypt", direction: "forward", area }
    metadata.segments["1"] = { ...now, flags: ["backup-previous"] }
    metadata.segments["2"] = { ...now, encryption: "cipher_null-ecb", flags: ["backup-final"] }
    metadata.digests["0"].segments = ["0", "1", "2"]
    metadata.config.requirements = { mandatory: ["online-reencrypt-v2"] }
  },
}

for (const [what, change] of Object.entries(changes)) {
  test(`${what}: every command names the tampering, and none but wipe goes on`, async () => {
    const disk = tampered("tampered.img", change)
    const before = readFileSync(disk)
    const key = ["--key-file", keyFile]
    const refusing: readonly (readonly string[])[] = [
      ["open", disk, "never", ...key],
      ["mount", disk, place.folder, ...key],
      ["recover", disk, "--recovery-key-file", recovery, "--check-only"],
      ["adopt", disk, ...key, "--new-key-file", keyFile],
      ["release", disk, ...key],
      ["key", "add", disk, ...key, "--new-key-file", keyFile],
      ["key", "change", disk, ...key, "--new-key-file", keyFile],
      ["key", "remove", disk, ...key],
      ["header", "authenticate", disk, ...key],
      ["label", disk, "name"],
      ["uuid", disk, "0d6f0f5e-4b0e-4f4a-9a63-5a2b8d0c6d11"],
      ["check", disk],
      ["check", disk, "--repair", "--batch-mode"],
    ]
    for (const args of refusing) {
      const done = await place.tresor(args)
      const said = done.stdout + done.stderr
      assert.equal(done.code, 4, `${args.join(" ")}: ${said}`)
      assert.match(said, /the header was tampered with/, args.join(" "))
      assert.doesNotMatch(said, /cryptsetup opens it|`cryptsetup/, args.join(" "))
    }
    const backup = place.path(`${what}.hdr`)
    for (const args of [
      ["dump", disk],
      ["key", "list", disk],
      ["header", "backup", disk, backup],
    ]) {
      const done = await place.tresor(args)
      assert.equal(done.code, 0, done.stderr)
      assert.match(done.stderr, /WARNING.*the header was tampered with/, args.join(" "))
    }
    const restored = await place.tresor(["header", "restore", path, backup, "--batch-mode"])
    assert.equal(restored.code, 4)
    assert.match(restored.stderr, /tampered with/)
    assert.ok(readFileSync(disk).equals(before), "something was written")
    const wiped = await place.tresor(["wipe", disk, "--batch-mode"])
    assert.equal(wiped.code, 0, wiped.stderr)
  })
}

test("a volume whose Tresor tokens were removed too is not said to be sound when nothing is encrypted", async () => {
  const disk = tampered("stripped.img", (metadata) => {
    metadata.segments["0"].encryption = "cipher_null-ecb"
    metadata.tokens = {}
  })
  for (const args of [
    ["open", disk, "never", "--key-file", keyFile],
    ["check", disk],
  ]) {
    const done = await place.tresor(args)
    assert.equal(done.code, 4)
    assert.match(done.stdout + done.stderr, /unless you chose that, the header was tampered with/)
  }
})

test("check --repair does not write a tampered copy over the one that is as the owner left it", async () => {
  const disk = place.path("one.img")
  copyFileSync(path, disk)
  editHeader(disk, {
    only: "primary",
    json: (metadata) => {
      metadata.segments["0"].encryption = "cipher_null-ecb"
    },
    bytes: (copy) => {
      copy.writeBigUInt64BE(99n, 16)
    },
  })
  const before = readFileSync(disk)
  const done = await place.tresor(["check", disk, "--repair", "--batch-mode"])
  assert.equal(done.code, 4, done.stderr)
  assert.ok(readFileSync(disk).equals(before), "the last good copy was overwritten")
})

test("a volume of another cipher without a Tresor token is left to cryptsetup", async () => {
  const disk = tampered("foreign.img", (metadata) => {
    metadata.segments["0"].encryption = "serpent-xts-plain64"
    metadata.tokens = {}
  })
  const done = await place.tresor(["open", disk, "never", "--key-file", keyFile])
  assert.equal(done.code, 4)
  assert.match(done.stderr, /serpent-xts-plain64, and aes-xts-plain64 is supported; cryptsetup opens it/)
})

/**
 * A passphrase on its way to a volume elsewhere, with a liar between: tresord
 * itself, its machine's root or the network. It may break the unlocking; it
 * gets no passphrase, and nothing it could use again.
 */
import assert from "node:assert/strict"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { before, test } from "node:test"
import { Place, type Result, run, tresorPath } from "../cli/harness.ts"

const place = new Place()
const PASSPHRASE = "correct horse battery staple"
const tap = place.path("tap")
let policy = ""
let keyFile = ""

before(async () => {
  const { path, keyFile: key } = await place.volume("disk.img", PASSPHRASE)
  const other = await place.volume("other.img", PASSPHRASE)
  keyFile = key
  policy = place.path("policy.json")
  assert.equal((await place.tresor(["attest", "policy", "init", "--testing", "--out", policy])).code, 0)
  assert.equal((await place.tresor(["open", path, "work", "--key-file", key, "--locked"])).code, 0)
  assert.equal((await place.tresor(["open", other.path, "other", "--key-file", key, "--locked"])).code, 0)
})

async function setkey(lie: string, ...more: string[]): Promise<Result & { readonly sent: string }> {
  writeFileSync(tap, "")
  const rsh = place.file("rsh", `#!/bin/sh\nexec ${process.execPath} ${join(import.meta.dirname, "liar.mjs")} "$@"\n`)
  await run("chmod", ["+x", rsh])
  const remote = ["--remote", "user@host", "--rsh", rsh, "--remote-tresor", tresorPath]
  const args = ["setkey", "work", ...remote, "--policy", policy, "--key-file", keyFile, ...more]
  const result = await place.tresor(args, { env: { LIE: lie, TAP: tap } })
  return { ...result, sent: readFileSync(tap, "latin1") }
}

const state = async (name: string): Promise<string> =>
  JSON.parse((await place.tresor(["status", name, "--json"])).stdout).state

/** One call to a tresord by hand. */
function raw(name: string, message: string): Promise<{ error?: string; parameters: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(place.runtime, name, "control.sock"))
    let answer = ""
    socket.on("error", reject)
    socket.on("data", (chunk) => {
      answer += chunk
      if (!answer.endsWith("\0")) return
      socket.destroy()
      resolve(JSON.parse(answer.slice(0, -1)))
    })
    socket.write(`${message}\0`)
  })
}

/**
 * The MAC of a software report is not among them: its host holds the key, so
 * that only ssh and a policy for tests stand behind such an enclave.
 */
for (const [lie, message] of [
  ["another key", /the report binds [0-9a-f]+, not this public key and nonce/],
  ["another key from the challenge on", /its enclave changed in between/],
  ["another key everywhere", /the report binds [0-9a-f]+, not this public key and nonce/],
  ["another measurement", /it says mrenclave 0{64}, its report/],
  ["another signer", /it says mrsigner 0{64}, its report/],
  ["a higher version", /it says isvSvn/],
  ["no debugging", /it says debug false, its report true/],
  ["the hardware", /the software backend has none/],
  ["a changed report", /MRENCLAVE|mrenclave/],
  ["a report with a changed binding", /the report binds/],
  ["half a report", /not 432 bytes/],
  ["keyslots of its own", /no keyslot is sealed to its enclave/],
  ["a cheap KDF", /cheaper to guess than any that cryptsetup makes/],
  ["no MACs", /its header has no MACs/],
  ["half a header", /describes an invalid header/],
  ["another cipher", /describes an invalid header \(cipher 2\)/],
  ["silence", /the connection ended before the answer/],
] as const) {
  test(`a tresord that lies about its enclave gets no passphrase: ${lie}`, async () => {
    const { code, stderr, sent } = await setkey(lie)
    assert.ok(code === 2 || code === 4, `exit code ${code}`)
    assert.match(stderr, /^tresor: error: [^\n]+\n$/)
    assert.match(stderr, message)
    assert.ok(!sent.includes("Volume.Unlock"), "something was sealed to it")
    assert.ok(!sent.includes(PASSPHRASE) && !sent.includes(Buffer.from(PASSPHRASE).toString("base64")))
    assert.equal(await state("work"), "locked")
  })
}

test("a report of another time proves nothing", async () => {
  assert.equal((await setkey("a report of another time")).code, 0, "the first is fresh")
  assert.equal((await place.tresor(["lock", "work"])).code, 0)
  const { code, stderr, sent } = await setkey("a report of another time")
  assert.equal(code, 2)
  assert.match(stderr, /the report binds/)
  assert.ok(!sent.includes("Volume.Unlock"))
  assert.equal(await state("work"), "locked")
})

test("a whole contact of another time, status and report, proves nothing either", async () => {
  rmSync(`${tap}.report`)
  assert.equal((await setkey("a contact of another time")).code, 0, "the first is fresh")
  assert.equal((await place.tresor(["lock", "work"])).code, 0)
  const { code, stderr, sent } = await setkey("a contact of another time")
  assert.equal(code, 2)
  assert.match(stderr, /the report binds/)
  assert.ok(!sent.includes("Volume.Unlock"))
  assert.equal(await state("work"), "locked")
})

test("what a liar recorded opens nothing again: not the volume, not another", async () => {
  const { code, stderr, sent } = await setkey("none")
  assert.equal(code, 0, stderr)
  assert.equal(await state("work"), "unlocked")
  const unlock = sent.split("\0").find((message) => message.includes("Volume.Unlock")) ?? ""
  assert.ok(unlock.length > 0 && !sent.includes(PASSPHRASE))
  assert.equal((await place.tresor(["lock", "work"])).code, 0)
  for (const name of ["work", "other"]) {
    const { error, parameters } = await raw(name, unlock)
    assert.equal(error, "io.tresor.Volume.Refused")
    assert.notEqual(parameters["exitCode"], 0)
    assert.equal(await state(name), "locked")
  }
})

test("a header that is not the one of the first contact gets no passphrase, whatever was changed", async () => {
  assert.match(readFileSync(place.path("config/tresor/known-volumes"), "utf8"), /^host [0-9a-f-]{36} [0-9a-f]{64}\n$/)
  for (const lie of ["another segment", "another digest"]) {
    const { code, stderr, sent } = await setkey(lie)
    assert.equal(code, 2)
    assert.match(stderr, /its header is not the one that .*known-volumes:1 knows/)
    assert.ok(!sent.includes("Volume.Unlock"))
  }
  // With --unsealed the client admits such keyslots, and no cheap ones among them.
  const { code, stderr, sent } = await setkey("keyslots of its own", "--unsealed")
  assert.equal(code, 2)
  assert.match(stderr, /keyslot 0 \(not sealed; pbkdf2-sha256, 1 iterations\) is cheaper to guess/)
  assert.ok(!sent.includes("Volume.Unlock"))
})

test("at the first contact a changed header costs the unlocking, not the passphrase", async () => {
  for (const lie of ["another segment", "another digest"]) {
    rmSync(place.path("config/tresor/known-volumes"))
    const { code, stderr } = await setkey(lie)
    assert.equal(code, 4)
    assert.match(stderr, /its header is not the one the passphrase was sealed for/)
    assert.throws(() => readFileSync(place.path("config/tresor/known-volumes")), { code: "ENOENT" })
    writeFileSync(place.path("config/tresor/known-volumes"), "")
  }
  assert.equal((await setkey("none")).code, 0)
  assert.equal((await place.tresor(["lock", "work"])).code, 0)
})

test("the purpose is the client's: no tresord makes a passphrase one of 2016's flow", async () => {
  const lied = await setkey("the flow of 2016")
  assert.equal(lied.code, 1)
  assert.match(lied.stderr, /it serves mappings of 2016's flow, not a LUKS2 volume; .* use --legacy/)
  const asked = await setkey("none", "--legacy")
  assert.equal(asked.code, 1)
  assert.match(asked.stderr, /Cannot use --legacy with work: it is a LUKS2 volume/)
  for (const { sent } of [lied, asked]) assert.ok(!sent.includes("Volume.Unlock") && !sent.includes("Challenge"))
})

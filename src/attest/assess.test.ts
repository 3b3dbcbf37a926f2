import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { after, beforeEach, test } from "node:test"
import { promisify } from "node:util"
import type { EnclaveIdentity } from "../enclave/types.ts"
import { assessEnclave } from "./assess.ts"
import { makePlatform, newKey, type PlatformSpec, platformSpec } from "./gather/platform.ts"
import { fromHex, viewOf } from "./judge/bytes.ts"
import { formatPolicy, policyFor } from "./judge/policy.ts"
import {
  formatKnown,
  hostName,
  knownEnclavesPath,
  parseKnown,
  pin,
  readKnown,
  recognise,
  withPin,
} from "./known-enclaves.ts"
import type { Attester, Surroundings } from "./surroundings.ts"
import { tcbNumbersPath } from "./tcb-numbers.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-assess-"))
after(() => rmSync(folder, { recursive: true }))
let round = 0
beforeEach(() => {
  process.env["XDG_CONFIG_HOME"] = join(folder, String(++round))
  process.env["TRESOR_STATE_DIR"] = join(folder, "state")
})

const now = new Date("2026-11-23T12:00:00Z")
const rootPair = await newKey()
const spec = platformSpec("Test Root", new Date("2026-11-01T00:00:00Z"), new Date("2026-12-01T00:00:00Z"))
const platform = await makePlatform(spec, rootPair)
/** The same with Intel's knowledge of another time. */
const platformOf = (number: number, change: Partial<PlatformSpec> = {}) =>
  makePlatform(
    {
      ...spec,
      tcbInfo: { ...spec.tcbInfo, tcbEvaluationDataNumber: number },
      qeIdentity: { ...spec.qeIdentity, tcbEvaluationDataNumber: number },
      ...change,
    },
    rootPair,
  )

const identity: EnclaveIdentity = {
  backend: "software",
  mrenclave: "ab".repeat(32),
  mrsigner: "cd".repeat(32),
  isvProdId: 1,
  isvSvn: 3,
  cpuSvn: "00".repeat(16),
  debug: true,
  xfrm: 7n,
  publicKey: randomBytes(32),
  aes: "aesni",
  kdfMemoryKib: 1,
  memory: { keys: "plain", stacks: "plain", heap: "plain" },
}
const hardware = { ...identity, backend: "sgx", debug: false } as const
const own = { mrenclave: identity.mrenclave }
/** The enclave's signer as one that releases. */
const released = () => new Map([[identity.mrsigner, "Example Ltd"]])

function reportOf(is: EnclaveIdentity, nonce: Uint8Array, change: (bytes: Uint8Array) => void = () => {}): Uint8Array {
  const bytes = new Uint8Array(432)
  const view = viewOf(bytes)
  view.setBigUint64(48, is.debug ? 7n : 5n, true)
  bytes.set(fromHex(is.mrenclave)!, 64)
  bytes.set(fromHex(is.mrsigner)!, 128)
  view.setUint16(256, is.isvProdId, true)
  view.setUint16(258, is.isvSvn, true)
  bytes.set(createHash("sha256").update("tresor report v1").update(is.publicKey).update(nonce).digest(), 320)
  change(bytes)
  return bytes
}

function enclave(is: EnclaveIdentity = identity, change?: (bytes: Uint8Array) => void): Attester {
  return { identity: is, report: async (_, nonce) => reportOf(is, nonce, change) }
}

/** One whose machine makes quotes. */
const quoting = (is: EnclaveIdentity, change?: (bytes: Uint8Array) => void, on = platform): Attester => ({
  ...enclave(is, change),
  quote: async (nonce) => on.quote(reportOf(is, nonce, change)),
})

interface World extends Surroundings {
  readonly told: string[]
  readonly asked: string[]
}
function world(answer: boolean | null, change: Partial<Surroundings> = {}): World {
  const told: string[] = []
  const asked: string[] = []
  const ask = async (text: string) => {
    asked.push(text)
    return answer!
  }
  return {
    ask: answer === null ? null : ask,
    tell: (line) => void told.push(line),
    now: () => now,
    aesmSocket: join(folder, "no-aesmd"),
    own: null,
    signers: () => new Map(),
    rootKey: platform.rootKey,
    told,
    asked,
    ...change,
  }
}

const pinned = () => (existsSync(knownEnclavesPath()) ? readFileSync(knownEnclavesPath(), "utf8") : null)
const keepCollateral = (of = platform) => {
  mkdirSync(join(process.env["XDG_CONFIG_HOME"]!, "tresor"), { recursive: true })
  writeFileSync(
    join(process.env["XDG_CONFIG_HOME"]!, "tresor/collateral.json"),
    JSON.stringify({ ...of.bundle, pck_certificate_chain: of.pckChain }),
  )
}

test("this installation's own image on this machine: no question; pinned only in a process of our own", async () => {
  const quiet = world(null, { own })
  await assessEnclave(enclave(), {}, quiet)
  assert.equal(pinned(), null)
  const startedHere = true
  await assessEnclave(enclave(), { startedHere }, quiet)
  await assessEnclave(enclave(), { startedHere }, quiet)
  assert.equal(pinned(), `${formatKnown("local", identity)}\n`)
  assert.equal(statSync(knownEnclavesPath()).mode & 0o777, 0o600)
  assert.deepEqual(quiet.told, [])
  await assessEnclave(enclave(hardware), { startedHere }, quiet)
  assert.equal(parseKnown(pinned()!, "").length, 2, "the other backend is another line")
})

test("the own image is accepted where nothing can be pinned", async () => {
  writeFileSync(process.env["XDG_CONFIG_HOME"]!, "")
  await assessEnclave(enclave(), { startedHere: true }, world(null, { own }))
})

test("a report that does not bind key and nonce, or tells of another enclave, is refused even from the own image", async () => {
  const lies: readonly (readonly [number, string])[] = [
    [320, "ATTEST_NOT_BOUND"],
    [351, "ATTEST_NOT_BOUND"],
    [383, "ATTEST_NOT_BOUND"],
    [64, "ATTEST_MISMATCH"],
    [128, "ATTEST_MISMATCH"],
    [256, "ATTEST_MISMATCH"],
    [258, "ATTEST_MISMATCH"],
  ]
  for (const [offset, code] of lies) {
    const lying = enclave(identity, (bytes) => {
      bytes[offset]! ^= 1
    })
    await assert.rejects(assessEnclave(lying, {}, world(true, { own })), { code, exitCode: 2 })
  }
  const replayed: Attester = { identity, report: async () => reportOf(identity, new Uint8Array(32)) }
  await assert.rejects(assessEnclave(replayed, {}, world(true, { own })), { code: "ATTEST_NOT_BOUND" })
  const other = { ...identity, publicKey: randomBytes(32) }
  const swapped: Attester = { identity: other, report: async (_, nonce) => reportOf(identity, nonce) }
  await assert.rejects(assessEnclave(swapped, {}, world(true, { own })), { code: "ATTEST_NOT_BOUND" })
  const short: Attester = { identity, report: async () => new Uint8Array(100) }
  await assert.rejects(assessEnclave(short, {}, world(true, { own })), { code: "ATTEST_BAD_REPORT" })
  assert.equal(pinned(), null)
})

test("first contact: measurement shown, asked once, pinned; without a terminal refused with the way out", async () => {
  const host = "me@server.example"
  await assert.rejects(assessEnclave(enclave(), { host }, world(null)), {
    code: "ATTEST_UNKNOWN",
    exitCode: 2,
    message: /tresor attest policy init/,
  })
  const no = world(false)
  await assert.rejects(assessEnclave(enclave(), { host }, no), { code: "ATTEST_DECLINED" })
  assert.match(no.asked[0]!, new RegExp(`MRENCLAVE ${identity.mrenclave}`))
  assert.match(no.asked[0]!, /Only that machine itself vouches/)
  assert.equal(pinned(), null)
  const other = "0".repeat(64)
  for (const [own, said] of [
    [null, /no enclave to compare it with/],
    [{ mrenclave: identity.mrenclave }, /The measurement is that of this installation's enclave/],
    [{ mrenclave: other }, new RegExp(`not this installation's image, which has ${other}`)],
  ] as const) {
    const compared = world(false, { own })
    await assert.rejects(assessEnclave(enclave(), { host }, compared), { code: "ATTEST_DECLINED" })
    assert.match(compared.asked[0]!, said)
  }
  const yes = world(true)
  await assessEnclave(enclave(), { host }, yes)
  await assessEnclave(enclave(), { host: "other@SERVER.example" }, yes)
  assert.equal(yes.asked.length, 1)
  assert.equal(pinned(), `${formatKnown("server.example", identity)}\n`)
  await assessEnclave(enclave(), { host }, world(null))
})

test("an enclave of this machine that is not ours is asked about like any other", async () => {
  const strange = { ...identity, mrenclave: "11".repeat(32) }
  await assert.rejects(assessEnclave(enclave(strange), {}, world(null, { own })), { code: "ATTEST_UNKNOWN" })
  // Whoever signed it, it is this code that gets the passphrase.
  await assessEnclave(enclave({ ...identity, mrsigner: "11".repeat(32) }), {}, world(null, { own }))
})

test("a changed enclave is refused loudly, naming file and line; an upgrade by its release key is not", async () => {
  const host = "server"
  mkdirSync(join(process.env["XDG_CONFIG_HOME"]!, "tresor"), { recursive: true })
  const first = `# mine\n\n${formatKnown("elsewhere", hardware)}\n${formatKnown(host, identity)}\n`
  writeFileSync(knownEnclavesPath(), first)
  const changes: readonly Partial<EnclaveIdentity>[] = [
    { mrenclave: "22".repeat(32), mrsigner: "33".repeat(32) },
    { mrenclave: "22".repeat(32), isvSvn: 2 },
    { mrenclave: "22".repeat(32), isvProdId: 2 },
  ]
  for (const change of changes) {
    const loud = world(true, { signers: released })
    await assert.rejects(assessEnclave(enclave({ ...identity, ...change }), { host }, loud), {
      code: "ATTEST_CHANGED",
      message: new RegExp(`${knownEnclavesPath()}:4 .*remove that line`),
    })
    assert.match(loud.told.join(), /THE ENCLAVE HAS CHANGED/)
    assert.deepEqual(loud.asked, [], "nobody is asked into it")
  }
  assert.equal(pinned(), first)
  const quiet = world(null, { signers: released })
  const upgrade = { ...identity, mrenclave: "22".repeat(32), isvSvn: 4 }
  await assessEnclave(enclave(upgrade), { host }, quiet)
  assert.match(quiet.told.join(), /was upgraded to 2222.* by its signer, Example Ltd/)
  assert.equal(pinned(), `${first.trimEnd()} former\n${formatKnown(host, upgrade)}\n`)
  await assert.rejects(
    assessEnclave(enclave(), { host }, world(true, { signers: released })),
    { code: "ATTEST_CHANGED" },
    "and not back",
  )
})

test("an upgrade on the word of a local or unknown signer is asked about, and refused where nobody can be", async () => {
  const host = "server"
  const upgrade = { ...identity, mrenclave: "22".repeat(32) }
  const rebuilt = { ...upgrade, mrsigner: "33".repeat(32) }
  await assessEnclave(enclave(), { host }, world(true))
  const first = pinned()
  for (const [is, change] of [
    [upgrade, {}],
    // Nobody's signature, and it is what runs here as well.
    [rebuilt, { own: { mrenclave: rebuilt.mrenclave } }],
  ] as const) {
    await assert.rejects(assessEnclave(enclave(is), { host }, world(null, change)), {
      code: "ATTEST_UNKNOWN",
      exitCode: 2,
      message: /known-enclaves:1 says, 2222.* no release key.* use --policy/,
    })
    const no = world(false, change)
    await assert.rejects(assessEnclave(enclave(is), { host }, no), { code: "ATTEST_DECLINED" })
    assert.match(no.asked[0]!, /No release key signed it/)
    assert.match(no.asked[0]!, new RegExp(`before +${identity.mrenclave}, version 3`))
    assert.deepEqual([no.told, pinned()], [[], first])
  }
  await assert.rejects(assessEnclave(enclave(rebuilt), { host }, world(true)), { code: "ATTEST_CHANGED" })
  const yes = world(true)
  await assessEnclave(enclave(upgrade), { host }, yes)
  await assessEnclave(enclave(upgrade), { host }, world(null))
  assert.equal(yes.asked.length, 1)
  assert.equal(pinned(), `${first!.trimEnd()} former\n${formatKnown(host, upgrade)}\n`)
  // The one before may hand a keyslot over, and get nothing else.
  await assert.rejects(assessEnclave(enclave(), { host }, world(false)), { code: "ATTEST_DECLINED" })
  await assessEnclave(enclave(), { host, predecessor: true }, world(null))
  const never = { ...identity, mrenclave: "44".repeat(32), isvSvn: 2 }
  await assert.rejects(assessEnclave(enclave(never), { host, predecessor: true }, world(true)), {
    code: "ATTEST_CHANGED",
  })
})

test("a host known by SGX does not step down to the software backend", async () => {
  keepCollateral()
  await assessEnclave(quoting(hardware), { host: "server" }, world(true))
  await assert.rejects(assessEnclave(enclave(), { host: "server" }, world(true)), { code: "ATTEST_CHANGED" })
})

test("SGX elsewhere: a quote or nothing, judged before anybody is asked", async () => {
  const host = "server"
  const none = world(true)
  await assert.rejects(assessEnclave(enclave(hardware), { host }, none), { code: "ATTEST_NO_QUOTE" })
  await assert.rejects(assessEnclave(quoting(hardware), { host }, none), {
    code: "ATTEST_REFUSED",
    message: /collateral/,
  })
  keepCollateral()
  const debug = { ...hardware, debug: true }
  await assert.rejects(assessEnclave(quoting(debug), { host }, none), { message: /debug check/ })
  const unbound = quoting(hardware, (bytes) => {
    bytes[330]! ^= 1
  })
  await assert.rejects(assessEnclave(unbound, { host }, none), { message: /report-data check/ })
  const claimed = { ...quoting(hardware), identity: { ...hardware, mrenclave: "11".repeat(32) } }
  await assert.rejects(assessEnclave(claimed, { host }, none), { code: "ATTEST_REFUSED", message: /enclave check/ })
  const foreign = world(true, { rootKey: new Uint8Array(65).fill(4) })
  await assert.rejects(assessEnclave(quoting(hardware), { host }, foreign), { message: /root check/ })
  assert.deepEqual([...none.asked, ...foreign.asked], [])
  const yes = world(true)
  await assessEnclave(quoting(hardware), { host }, yes)
  assert.match(yes.asked[0]!, /Intel's certificates vouch/)
})

test("the highest TCB evaluation data number seen of a platform is remembered and required", async () => {
  const host = "server"
  const [newer, older] = [await platformOf(19), await platformOf(18)]
  const ask = (on: typeof platform, change: Partial<Surroundings> = {}) => {
    keepCollateral(on)
    return assessEnclave(quoting(hardware, undefined, on), { host }, world(true, change))
  }
  await ask(older)
  assert.equal(readFileSync(tcbNumbersPath(), "utf8"), "00606a000000 0000 18\n")
  assert.equal(statSync(tcbNumbersPath()).mode & 0o777, 0o600)
  await ask(newer)
  const rolledBack = {
    code: "ATTEST_REFUSED",
    message: /collateral-age check failed: .* is 18; 19 was seen .*tcb-numbers:1\)/,
  }
  await assert.rejects(ask(older), rolledBack)
  // By a policy as well, and for ever: refusing changes nothing.
  const file = join(folder, "numbers.json")
  writeFileSync(file, formatPolicy(policyFor(hardware, "mrsigner")))
  const byPolicy = assessEnclave(quoting(hardware, undefined, older), { policy: file, host }, world(null))
  await assert.rejects(byPolicy, rolledBack)
  await ask(newer)
  // Newer knowledge that condemns the platform stays known, though the quote was refused.
  const [level] = (spec.tcbInfo as { tcbLevels: object[] }).tcbLevels
  const condemned = await platformOf(20, {
    tcbInfo: { ...spec.tcbInfo, tcbEvaluationDataNumber: 20, tcbLevels: [{ ...level, tcbStatus: "OutOfDate" }] },
  })
  await assert.rejects(ask(condemned), { message: /tcb-status check/ })
  await assert.rejects(ask(newer), { message: /is 19; 20 was seen/ })
  // What Intel did not sign raises nothing; another platform is another line.
  const other = await platformOf(7, {
    pck: { ...spec.pck!, fmspc: "00906ed50000" },
    tcbInfo: { ...spec.tcbInfo, fmspc: "00906ED50000", tcbEvaluationDataNumber: 18 },
  })
  await assert.rejects(ask(await platformOf(99), { rootKey: new Uint8Array(65).fill(4) }), { message: /root check/ })
  await assert.rejects(
    ask(other),
    { message: /is 7; the policy requires 17/ },
    "the lower one of TCB info and QE identity",
  )
  assert.equal(readFileSync(tcbNumbersPath(), "utf8"), "00606a000000 0000 20\n00906ed50000 0000 7\n")
})

test("the list of numbers: comments stay, damage is told, a home that cannot be written to is said so", async () => {
  const host = "server"
  keepCollateral()
  const path = tcbNumbersPath()
  writeFileSync(path, "# mine\n\n00606a000000 0000 12\n00606a000000 0000 3\n")
  await assessEnclave(quoting(hardware), { host }, world(true))
  assert.equal(readFileSync(path, "utf8"), "# mine\n\n00606a000000 0000 17\n00606a000000 0000 3\n")
  for (const bad of ["00606a000000 0000", "00606A000000 0000 1", "x", "00606a000000 0000 -1"]) {
    writeFileSync(path, `# mine\n${bad}\n`)
    await assert.rejects(assessEnclave(quoting(hardware), { host }, world(true)), {
      code: "TCB_NUMBERS_BAD",
      exitCode: 2,
      message: /tcb-numbers: line 2 is damaged/,
    })
  }
  rmSync(path)
  // In place of the lock lies what no lock can be.
  rmSync(`${path}.lock`)
  mkdirSync(`${path}.lock`)
  const loud = world(true)
  await assessEnclave(quoting(hardware), { host }, loud)
  assert.match(loud.told.join("\n"), /WARNING: Cannot remember TCB evaluation data number 17 in .*tcb-numbers/)
  rmSync(`${path}.lock`, { recursive: true })
  mkdirSync(path)
  await assert.rejects(assessEnclave(quoting(hardware), { host }, world(true)), {
    code: "LIST_UNREADABLE",
    exitCode: 2,
  })
})

test("two that write a list at once lose no line of the other", async () => {
  const path = knownEnclavesPath()
  const code = `
    const { pin } = await import(${JSON.stringify(new URL("known-enclaves.ts", import.meta.url).href)})
    const seen = { backend: "sgx", mrenclave: "ab".repeat(32), mrsigner: "cd".repeat(32), isvProdId: 1, isvSvn: 1 }
    for (let i = 0; i < 20; i++) pin(process.argv[1], process.argv[2] + i, seen)`
  const run = promisify(execFile)
  const flags = ["--input-type=module", "-e", code, path]
  await Promise.all(["a", "b", "c"].map((name) => run(process.execPath, [...flags, name])))
  assert.equal(readKnown(path).length, 60)
  assert.deepEqual(readdirSync(dirname(path)).sort(), ["known-enclaves", "known-enclaves.lock"])
})

test("SGX here: no quote needed for the own image, DEBUG refused all the same", async () => {
  await assessEnclave(enclave(hardware), {}, world(null, { own }))
  await assert.rejects(assessEnclave(enclave({ ...hardware, debug: true }), {}, world(true, { own })), {
    code: "ATTEST_DEBUG",
  })
})

test("a policy decides alone: nothing is asked or pinned", async () => {
  const file = join(folder, "policy.json")
  const quiet = world(null, { own })
  writeFileSync(file, formatPolicy({ ...policyFor(identity, "mrenclave"), testing: false }))
  await assert.rejects(
    assessEnclave(enclave(), { policy: file }, quiet),
    { code: "ATTEST_REFUSED", message: /root check failed: .*software backend/ },
    "no production policy accepts the software backend, not even the own image",
  )
  writeFileSync(file, formatPolicy(policyFor(identity, "mrenclave")))
  await assessEnclave(enclave(), { policy: file }, quiet)
  await assert.rejects(assessEnclave(enclave({ ...identity, mrenclave: "11".repeat(32) }), { policy: file }, quiet), {
    code: "ATTEST_REFUSED",
  })
  keepCollateral()
  writeFileSync(file, formatPolicy(policyFor(hardware, "mrsigner")))
  await assessEnclave(quoting(hardware), { policy: file, host: "server" }, quiet)
  await assessEnclave(quoting(hardware), { policy: file }, quiet)
  await assert.rejects(assessEnclave(enclave(hardware), { policy: file }, quiet), { code: "AESM_MISSING" })
  await assert.rejects(assessEnclave(quoting({ ...hardware, isvSvn: 2 }), { policy: file }, quiet), {
    message: /enclave check/,
  })
  await assert.rejects(assessEnclave(enclave(), { policy: join(folder, "none") }, quiet), {
    code: "ATTEST_BAD_POLICY",
    exitCode: 1,
  })
  assert.equal(pinned(), null)
})

test("known-enclaves: damage is told, other lines survive, hosts cannot forge lines", () => {
  assert.throws(() => parseKnown("\n# c\nserver sgx abc\n", "FILE"), {
    code: "KNOWN_ENCLAVES_BAD",
    message: /FILE: line 3/,
  })
  const text = `# note\n${formatKnown("a", identity)}`
  assert.equal(withPin(text, "b", identity, null, ""), `${text}\n${formatKnown("b", identity)}\n`)
  assert.equal(recognise([], "a", identity, { signers: new Map(), own, predecessor: false }).kind, "unknown")
  assert.equal(hostName("me@Host"), "host")
  for (const host of ["", "me@", "a b", "#x", "local", "a\nb"]) {
    assert.throws(() => hostName(host), { code: "KNOWN_ENCLAVES_HOST" })
  }
})

test("pins of several processes are all kept", async () => {
  const path = knownEnclavesPath()
  const { spawn } = await import("node:child_process")
  const script = `import { pin } from ${JSON.stringify(new URL("known-enclaves.ts", import.meta.url).href)}
    for (let i = 0; i < 20; i++) pin(process.argv[1], process.argv[2] + i, ${JSON.stringify({ ...identity, xfrm: 0 })})`
  await Promise.all(
    ["a", "b"].map(
      (name) =>
        new Promise<void>((resolve, reject) => {
          const child = spawn(process.execPath, ["--input-type=module", "-e", script, path, name], {
            stdio: "inherit",
          })
          child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`exit ${code}`))))
        }),
    ),
  )
  assert.equal(parseKnown(readFileSync(path, "utf8"), path).length, 40)
  chmodSync(path, 0o600)
  pin(path, "a0", identity)
  assert.equal(parseKnown(readFileSync(path, "utf8"), path).length, 40)
})

/** First contact with a tresord: one question, whose report binds a nonce of this process's own making. */
import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { test } from "node:test"
import { assessEnclave } from "../attest/assess.ts"
import { askVolume } from "./enclave.ts"
import type { VolumeStatus } from "./volume.ts"
import type { VolumeClient } from "./volume-client.ts"

const own = { mrenclave: "aa".repeat(32), mrsigner: "bb".repeat(32) }
const KEY = new Uint8Array(32).fill(7)
const NOBODY = Buffer.alloc(512).toString("base64")

function statusOf(publicKey: Uint8Array): VolumeStatus {
  const identity = { backend: "software", ...own, isvProdId: 1, isvSvn: 1, debug: false, publicKey }
  return { name: "work", enclave: identity } as unknown as VolumeStatus
}

/** An EREPORT of `own`, by offset of the SDM. */
function reportOf(publicKey: Uint8Array, nonce: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(432)
  bytes.write(own.mrenclave, 64, "hex")
  bytes.write(own.mrsigner, 128, "hex")
  bytes.writeUInt16LE(1, 256)
  bytes.writeUInt16LE(1, 258)
  bytes.set(createHash("sha256").update("tresor report v1").update(publicKey).update(nonce).digest(), 320)
  return bytes
}

interface Question {
  readonly targetInfo: string
  readonly nonce: string
}
type Reply = Readonly<Record<string, unknown>>

/** A tresord that answers as `answer` says; and what it was asked. */
function tresord(answer: (nonce: Uint8Array) => Reply, challenge: () => Reply = () => ({})) {
  const asked: (readonly [string, Question])[] = []
  const client = {
    async call(method: string, input: Question) {
      asked.push([method, input])
      if (method === "Quote") return { quote: Buffer.from(input.nonce, "base64") }
      return method === "Report" ? answer(Buffer.from(input.nonce, "base64")) : challenge()
    },
  }
  return { client: client as unknown as VolumeClient, asked, methods: () => asked.map(([method]) => method) }
}
const honest = (nonce: Uint8Array): Reply => ({
  report: reportOf(KEY, nonce),
  volume: statusOf(KEY),
  enclave: statusOf(KEY).enclave,
})

test("status and report are one question, and judging the enclave asks nothing more", async () => {
  const { client, asked, methods } = tresord(honest)
  const { status, enclave } = await askVolume(client)
  assert.equal(status.name, "work")
  assert.deepEqual(enclave.identity, status.enclave)
  await assessEnclave(enclave, {}, { own })
  assert.deepEqual(methods(), ["Report"])
  assert.equal(asked[0]![1].targetInfo, NOBODY)
  assert.equal(Buffer.from(asked[0]![1].nonce, "base64").length, 32)
})

test("each contact, and each further judgement, has a nonce of its own", async () => {
  const { client, asked } = tresord(honest)
  const { enclave } = await askVolume(client)
  for (let n = 0; n < 3; n++) await assessEnclave(enclave, {}, { own })
  await askVolume(client)
  const nonces = asked.map(([, { nonce }]) => nonce)
  assert.equal(nonces.length, 4, "the first judgement asks nothing, the others do")
  assert.equal(new Set(nonces).size, 4)
})

test("the kept report answers for its nonce and nobody; a target, another nonce and a quote are asked for", async () => {
  const { client, asked } = tresord(honest)
  const { enclave } = await askVolume(client)
  const nonce = enclave.freshNonce!()
  assert.deepEqual(await enclave.report(new Uint8Array(512), nonce), reportOf(KEY, nonce))
  assert.equal(asked.length, 1)
  await enclave.report(new Uint8Array(512).fill(1), nonce)
  await enclave.report(new Uint8Array(512), randomBytes(32))
  assert.equal(asked.length, 3)
  assert.deepEqual(await enclave.quote!(nonce), Buffer.from(nonce))
  assert.deepEqual(
    asked.map(([method]) => method),
    ["Report", "Report", "Report", "Quote"],
  )
})

test("a contact of another time, or with another's key, is refused", async () => {
  const earlier = honest(randomBytes(32))
  const other = new Uint8Array(32).fill(9)
  const lies: Readonly<Record<string, (nonce: Uint8Array) => Reply>> = {
    "all of an earlier contact": () => earlier,
    "its report beside the status of now": () => ({
      ...earlier,
      volume: statusOf(KEY),
      enclave: statusOf(KEY).enclave,
    }),
    "the status with another key": (nonce) => ({
      report: reportOf(KEY, nonce),
      volume: statusOf(other),
      enclave: statusOf(other).enclave,
    }),
    "the report of another key": (nonce) => ({
      report: reportOf(other, nonce),
      volume: statusOf(KEY),
      enclave: statusOf(KEY).enclave,
    }),
  }
  for (const [what, answer] of Object.entries(lies)) {
    const { enclave } = await askVolume(tresord(answer).client)
    await assert.rejects(assessEnclave(enclave, {}, { own }), { code: "ATTEST_NOT_BOUND", exitCode: 2 }, what)
  }
  // A challenge of another enclave than the one that was judged.
  const changed = tresord(honest, () => ({ nonce: KEY, parameters: KEY, enclave: { publicKey: other } }))
  const { enclave } = await askVolume(changed.client)
  await assessEnclave(enclave, {}, { own })
  await assert.rejects(enclave.challenge("unlock"), { code: "ENCLAVE_CHANGED" })
})

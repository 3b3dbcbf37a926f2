/** The library beside a tresord that the command line started. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { connect } from "../../src/index.ts"
import { Place } from "../cli/harness.ts"

const place = new Place()
Object.assign(process.env, place.env)
const text = (words: string) => new TextEncoder().encode(words)

test("connect: status, lock, unlock by policy, watch, stop; every passphrase is wiped", async () => {
  const { path, keyFile } = await place.volume("work.img", "correct horse")
  assert.equal((await place.tresor(["open", path, "work", "--key-file", keyFile])).code, 0)
  const policy = place.path("policy.json")
  const made = await place.tresor(["attest", "policy", "init", "--testing", "--out", policy])
  assert.equal(made.code, 0, made.stderr)

  await using work = await connect("work")
  assert.deepEqual([(await work.status()).state, (await work.status()).path], ["unlocked", path])
  const seen = work.watch()
  assert.equal((await seen.next()).value?.state, "unlocked")
  await work.lock()
  assert.equal((await seen.next()).value?.state, "locked")

  const wrong = text("battery staple")
  await assert.rejects(work.unlock(wrong), { code: "ENCLAVE_PASSPHRASE", exitCode: 2 })
  const right = text("correct horse")
  assert.equal((await work.unlock(right, { trust: policy })).state, "unlocked")
  assert.ok([wrong, right].every((bytes) => bytes.every((byte) => byte === 0)))
  await seen.return()

  const unwiped = "a string" as unknown as Uint8Array
  await assert.rejects(work.unlock(unwiped), { code: "PASSPHRASE_NOT_BYTES", exitCode: 1 })
  const other = text("correct horse")
  await assert.rejects(work.unlock(other, { trust: place.path("none.json") }), { code: "ATTEST_BAD_POLICY" })
  assert.ok(other.every((byte) => byte === 0))

  await work.stop()
  await assert.rejects(connect("work"), { code: "NOT_OPEN", exitCode: 4 })
})

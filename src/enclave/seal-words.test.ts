import assert from "node:assert/strict"
import { test } from "node:test"
import { sealDifference } from "./seal-words.ts"
import type { EnclaveIdentity } from "./types.ts"

test("a seal of another class names what differs: the backend, or whether the enclave is for debugging", () => {
  const sealer = {} as Parameters<typeof sealDifference>[1]
  const said = (backend: "sgx" | "software", debug: boolean) =>
    sealDifference("seal_backend", sealer, { backend, debug } as EnclaveIdentity)
  assert.equal(said("software", true), "it was sealed under backend sgx, this is backend software")
  assert.equal(said("sgx", false), "it was sealed under backend software, or by a debug enclave; this is backend sgx")
  assert.equal(said("sgx", true), "an enclave that is no debug enclave sealed it, and this is one")
})

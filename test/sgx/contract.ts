/** In the machine: what every backend has to keep, asked of the hardware backend on Linux's driver. One line for each. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { installed } from "../../src/base/installation.ts"
import { Attribute, parseConf } from "../../src/enclave/image/conf.ts"
import { PRODUCT } from "../../src/enclave/image/files.ts"
import { modulusOf, newSha256, signBytes } from "../../src/enclave/image/keys.ts"
import { attach, prepare, signedBytes } from "../../src/enclave/image/sigstruct.ts"
import { createEnclave } from "../../src/native/addon.ts"
import { contract, type Subject } from "../../src/testing/contract.ts"
import { type TestEnclave, testSigner } from "../../src/testing/native.ts"
import { makeHeader, real, SLOT, startImage, unlock } from "../../src/testing/real-image.ts"

const subject: Subject = {
  backend: "sgx",
  create: (options) => createEnclave({ ...options, backend: "sgx", machineSecret: null }),
  processor: true,
}

/** The product's image, signed for debugging. */
function debugImage(): TestEnclave {
  const { image, mrenclave } = real()
  const conf = parseConf(readFileSync(installed(PRODUCT.conf), "utf8"))
  const unsigned = prepare({ mrenclave, conf, date: "20260101", debug: true })
  const key = testSigner()
  const sigstruct = attach(unsigned, modulusOf(key), signBytes(key, signedBytes(unsigned)), newSha256)
  return { image: { ...image, attributes: image.attributes | Attribute.debug }, mrenclave, sigstruct }
}

const ofProcessor = {
  /** The same MRENCLAVE and machine; what differs is the attribute. */
  async "a debug and a production enclave open nothing of each other"({ create, backend }: Subject): Promise<void> {
    const passphraseKdf = { type: "pbkdf2", hash: "sha256", iterations: 1000 } as const
    const images = [real(), debugImage()] as const
    for (const [one, other] of [images, images.toReversed()] as [TestEnclave, TestEnclave][]) {
      const first = await startImage(create, backend, one)
      const header = await makeHeader(first, { ...SLOT, passphraseKdf }, "mrenclave")
      await first.close()
      await using second = await startImage(create, backend, other)
      assert.notEqual(second.identity.debug, first.identity.debug)
      await assert.rejects(unlock(second, header), { code: "ENCLAVE_SEAL_BACKEND" })
    }
  },
}

for (const [name, keeps] of Object.entries({ ...contract, ...ofProcessor })) {
  try {
    await keeps(subject)
    console.log(`ok contract: ${name}`)
  } catch (error) {
    console.log(`not ok contract: ${name}`)
    for (const line of (error as Error).stack?.split("\n") ?? []) console.log(`# ${line}`)
  }
}

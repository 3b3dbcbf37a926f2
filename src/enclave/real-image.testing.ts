/** The built image on any backend, and a volume in it; for tests only. */
import { readFileSync } from "node:fs"
import { EnclaveClient } from "./client.ts"
import { parseConf } from "./image/conf.ts"
import { parseImage } from "./image/elf.ts"
import { newSha256 } from "./image/keys.ts"
import { measureImage } from "./image/sgxs.ts"
import { installed } from "./installation.ts"
import { volumeKeyOf } from "./luks.testing.ts"
import { loadEnclave, type TestEnclave } from "./native.testing.ts"
import type { createEnclave } from "./native.ts"
import { sealRequest } from "./seal-request.ts"
import type { Backend, Header, KeyslotParameters, RequestContext } from "./types.ts"

/** The image as built. */
export const real = (): TestEnclave => {
  const conf = parseConf(readFileSync(installed("enclave/enclave.conf"), "utf8"))
  const image = parseImage(readFileSync(installed("enclave/build/tresor.elf")), conf)
  const sigstruct = readFileSync(installed("enclave/build/tresor.sigstruct"))
  return { image, mrenclave: measureImage(image, newSha256).mrenclave, sigstruct }
}

/** ECREATE to HELLO. */
export async function startImage(create: typeof createEnclave, backend: Backend): Promise<EnclaveClient> {
  const made = real()
  const native = loadEnclave(made, { create })
  native.init(made.sigstruct, made.image.encluSite)
  return EnclaveClient.start(native, backend)
}

export const UUID = "b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11"
const passphrase = Buffer.from("a typed passphrase")
export const SLOT: KeyslotParameters = {
  slot: 0,
  kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
  afHash: "sha256",
  areaKeySize: 64,
  keySize: 64,
  areaOffset: 32768n,
  areaSize: 258048n,
  passphraseKdf: null,
}

export async function seal(
  to: Pick<EnclaveClient, "challenge"> & { readonly identity: Pick<EnclaveClient["identity"], "publicKey"> },
  context: Pick<RequestContext, "purpose" | "freshSlot">,
  secrets: object,
) {
  const nonce = await to.challenge(context.purpose)
  return sealRequest(to.identity.publicKey, { uuid: UUID, slot: null, ...context, nonce }, secrets)
}

/** A volume with one keyslot. */
export async function makeHeader(client: EnclaveClient, slot: KeyslotParameters): Promise<Header> {
  const segment = {
    cipher: "aes-xts-plain64",
    sectorSize: 4096,
    keySize: 64,
    offset: 16n << 20n,
    size: null,
    ivTweak: 0n,
  } as const
  const sealed = await seal(client, { purpose: "create", freshSlot: 0 }, { fresh: passphrase })
  const wanted = { uuid: UUID, segment, digest: { hash: "sha256", iterations: 1000 } } as const
  const { digest, keyslot, macs } = await client.create(sealed, wanted, slot, "mrsigner")
  return { uuid: UUID, segment, digest, keyslots: [{ ...slot, ...keyslot, tried: true }], macs }
}

/** The same with a portable keyslot, and its key. */
export async function makeVolume(client: EnclaveClient) {
  const header = await makeHeader(client, SLOT)
  return { header, key: volumeKeyOf(header.keyslots[0]!, header.digest, passphrase) }
}

export async function unlock(client: EnclaveClient, header: Header) {
  const sealed = await seal(client, { purpose: "unlock", freshSlot: null }, { existing: passphrase })
  return client.unlock(sealed, header, "mrsigner")
}

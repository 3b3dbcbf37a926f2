/** The built image on any backend, and a volume in it; for tests only. */
import type { KeyObject } from "node:crypto"
import { readFileSync } from "node:fs"
import type { Backend } from "../abi/enclave.ts"
import { installed } from "../base/installation.ts"
import { type Asked, bindingOf } from "../enclave/asked.ts"
import { EnclaveClient } from "../enclave/client.ts"
import { Attribute, parseConf } from "../enclave/image/conf.ts"
import { parseImage } from "../enclave/image/elf.ts"
import { PRODUCT, VECTORS } from "../enclave/image/files.ts"
import { newSha256, signWith } from "../enclave/image/keys.ts"
import { measureImage } from "../enclave/image/sgxs.ts"
import { prepare } from "../enclave/image/sigstruct.ts"
import type { ImageBytes } from "../enclave/kept-images.ts"
import { sealRequest } from "../enclave/seal-request.ts"
import type { SealPolicy } from "../enclave/types.ts"
import { VectorsClient } from "../enclave/vectors.ts"
import type { Header, KeyslotParameters } from "../luks2/types.ts"
import type { createEnclave } from "../native/addon.ts"
import { volumeKeyOf } from "./luks.ts"
import { loadEnclave, type TestEnclave, testSigner } from "./native.ts"
import { testKey } from "./rsa-keys.ts"

/** The image as built. */
export const real = (files = PRODUCT): TestEnclave => {
  const conf = parseConf(readFileSync(installed(files.conf), "utf8"))
  const image = parseImage(readFileSync(installed(files.image)), conf)
  const sigstruct = readFileSync(installed(files.sigstruct))
  return { image, mrenclave: measureImage(image, newSha256).mrenclave, sigstruct }
}

/** UD2, which pads the text: no instruction of the image. */
const PADDING = Buffer.from([0x0f, 0x0b])

/** The image's file with two bytes of the padding changed: the same program, another MRENCLAVE. */
export function anotherImage(built: Uint8Array): Buffer {
  const image = Buffer.from(built)
  const padding = image.indexOf(Buffer.concat(Array.from({ length: 16 }, () => PADDING)))
  image.set([0x90, 0x90], padding + 8)
  return image
}

/** Its files, signed by a key of its own. */
export function anotherBuild(): ImageBytes {
  const conf = readFileSync(installed(PRODUCT.conf), "utf8")
  const image = anotherImage(readFileSync(installed(PRODUCT.image)))
  const parsed = parseConf(conf)
  const { mrenclave } = measureImage(parseImage(image, parsed), newSha256)
  const unsigned = prepare({ mrenclave, conf: parsed, date: "20260101", debug: false })
  return { image, conf, sigstruct: signWith(testKey(1), unsigned) }
}

export interface Release {
  readonly isvSvn: number
  readonly key?: KeyObject
  /** One page more: another MRENCLAVE. */
  readonly changed?: boolean
  /** ISVPRODID; the product's when left out. */
  readonly product?: number
  readonly debug?: boolean
}

/** The image as somebody released it, signed with the tests' key unless told otherwise. */
export function released({
  isvSvn,
  key = testSigner(),
  changed = false,
  product,
  debug = false,
}: Release): TestEnclave {
  const { image: asBuilt } = real()
  const built = debug ? { ...asBuilt, attributes: asBuilt.attributes | Attribute.debug } : asBuilt
  const last = built.segments.filter(({ measured }) => measured).at(-1)!
  // Behind everything that is measured lies a guard.
  const page = { ...last, offset: last.offset + last.size, size: 4096, data: new Uint8Array(), secinfoFlags: 0x201 }
  const image = changed ? { ...built, segments: [...built.segments, page] } : built
  const shipped = parseConf(readFileSync(installed(PRODUCT.conf), "utf8"))
  const conf = { ...shipped, isvSvn, isvProdId: product ?? shipped.isvProdId }
  const { mrenclave } = measureImage(image, newSha256)
  const unsigned = prepare({ mrenclave, conf, date: "20260101", debug })
  return { image, mrenclave, sigstruct: signWith(key, unsigned) }
}

/** ECREATE to HELLO. */
export async function startImage(
  create: typeof createEnclave,
  backend: Backend,
  made: TestEnclave = real(),
): Promise<EnclaveClient> {
  const native = loadEnclave(made, { create })
  native.init(made.sigstruct, made.image.encluSite)
  return EnclaveClient.start(native, backend)
}

/** The same of the second image. */
export async function startVectors(create: typeof createEnclave, backend: Backend): Promise<VectorsClient> {
  const made = real(VECTORS)
  const native = loadEnclave(made, { create })
  native.init(made.sigstruct, made.image.encluSite)
  return VectorsClient.start(native, backend)
}

export const UUID = "b6ff4a5a-8c4e-4f43-9b0b-2a5d4d7f0c11"
export const passphrase = Buffer.from("a typed passphrase")
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
/** The same with a salt that is sealed to the enclave. */
export const SEALED_SLOT = { ...SLOT, passphraseKdf: { type: "argon2id", time: 2, memoryKib: 64, lanes: 2 } } as const

export async function seal(
  to: Pick<EnclaveClient, "challenge"> & { readonly identity: Pick<EnclaveClient["identity"], "publicKey"> },
  asked: Asked,
  secrets: object,
) {
  const nonce = await to.challenge(asked.purpose)
  return sealRequest(to.identity.publicKey, { ...(await bindingOf(asked)), nonce }, secrets)
}

/** A volume with one keyslot. */
export async function makeHeader(
  client: EnclaveClient,
  slot: KeyslotParameters,
  policy: SealPolicy = "mrsigner",
): Promise<Header> {
  const segment = {
    cipher: "aes-xts-plain64",
    sectorSize: 4096,
    keySize: 64,
    offset: 16n << 20n,
    size: null,
    ivTweak: 0n,
  } as const
  const wanted = { uuid: UUID, segment, digest: { hash: "sha256", iterations: 1000 } } as const
  const sealed = await seal(client, { purpose: "create", ...wanted, fresh: slot, policy }, { fresh: passphrase })
  const { digest, keyslot, macs } = await client.create(sealed, wanted, slot, policy)
  return { uuid: UUID, segment, digest, keyslots: [{ ...slot, ...keyslot, tried: true }], macs }
}

/** The same with a portable keyslot, and its key. */
export async function makeVolume(client: EnclaveClient) {
  const header = await makeHeader(client, SLOT)
  return { header, key: volumeKeyOf(header.keyslots[0]!, header.digest, passphrase) }
}

export async function unlock(client: EnclaveClient, header: Header) {
  const sealed = await seal(client, { purpose: "unlock", header, slot: null }, { existing: passphrase })
  return client.unlock(sealed, header)
}

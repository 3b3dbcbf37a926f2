/** Enclave signing keys: RSA-3072 with exponent 3, as SIGSTRUCT demands; a release's in PEM files. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { readFileSync } from "node:fs"
import { Exit, TresorError } from "../../base/errors.ts"
import type { NewSha256 } from "./sgxs.ts"
import { attach, signedBytes } from "./sigstruct.ts"

export const newSha256: NewSha256 = () => createHash("sha256")

function fail(path: string, fact: string, cause?: unknown): TresorError {
  return new TresorError("IMAGE_BAD_KEY", Exit.badArguments, `Cannot use the signing key ${path}: ${fact}`, { cause })
}

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw fail(path, (cause as Error).message, cause)
  }
}

function checkKind(path: string, key: KeyObject): KeyObject {
  const { modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType !== "rsa" || modulusLength !== 3072 || publicExponent !== 3n) {
    throw fail(path, "it is not RSA with 3072 bits and exponent 3 (openssl genrsa -3 3072 makes one)")
  }
  return key
}

/** A key of this process alone. Nobody signs another enclave with it. */
export function throwAwayKey(): KeyObject {
  return generateKeyPairSync("rsa", { modulusLength: 3072, publicExponent: 3 }).privateKey
}

export function loadSigner(path: string): KeyObject {
  const pem = read(path)
  try {
    return checkKind(path, createPrivateKey(pem))
  } catch (cause) {
    throw cause instanceof TresorError ? cause : fail(path, "it is not a private key in PEM", cause)
  } finally {
    pem.fill(0)
  }
}

/** Of a public key, a private key or a certificate in PEM. 384 bytes, big-endian. */
export function loadModulus(path: string): Uint8Array {
  const pem = read(path)
  try {
    return modulusOf(checkKind(path, createPublicKey(pem)))
  } catch (cause) {
    throw cause instanceof TresorError ? cause : fail(path, "it is not a key in PEM", cause)
  } finally {
    pem.fill(0)
  }
}

export function modulusOf(key: KeyObject): Uint8Array {
  const { n } = (key.type === "private" ? createPublicKey(key) : key).export({ format: "jwk" })
  return new Uint8Array(Buffer.from(n!, "base64url"))
}

/** RSASSA-PKCS1-v1_5 with SHA-256; 384 bytes, big-endian. */
export function signBytes(key: KeyObject, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(sign("sha256", bytes, key))
}

/** The SIGSTRUCT that `prepare` has begun, signed. */
export function signWith(key: KeyObject, unsigned: Uint8Array): Uint8Array {
  return attach(unsigned, modulusOf(key), signBytes(key, signedBytes(unsigned)), newSha256)
}

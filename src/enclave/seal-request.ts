/**
 * The sender of sealed requests (abi/enclave.h): HPKE (RFC 9180) base mode,
 * DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, single shot, with the
 * request's context as associated data. Runs in a browser too.
 */
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke"
import { ABI_VERSION, Admit, ANY_SLOT, context as contextStruct, Limit, Purpose } from "../abi/enclave.ts"
import { encode } from "../abi/struct.ts"
import type { RequestContext, SealedRequest } from "./types.ts"

const INFO = new TextEncoder().encode("tresor sealed request v2")

const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)

/** struct tresor_context's values. Throws RangeError for a UUID of more than 39 bytes. */
export function contextFields(context: RequestContext) {
  const uuid = new TextEncoder().encode(context.uuid)
  if (uuid.length > 39) throw new RangeError(`a UUID of ${uuid.length} bytes`)
  return {
    version: ABI_VERSION,
    purpose: Purpose[context.purpose],
    uuid,
    slot: context.slot ?? ANY_SLOT,
    fresh_slot: context.freshSlot ?? ANY_SLOT,
    flags: (context.unsealed ? Admit.unsealed : 0) | (context.downgrade === true ? Admit.downgrade : 0),
    request: context.request,
    nonce: context.nonce,
  }
}

/**
 * Encrypts secrets to the enclave that owns `publicKey` (X25519, 32 bytes),
 * for one use. The secrets stay the caller's to wipe. Throws RangeError for a
 * secret above 8 MiB.
 */
export async function sealRequest(
  publicKey: Uint8Array,
  context: RequestContext,
  secrets: { readonly existing?: Uint8Array; readonly fresh?: Uint8Array },
): Promise<SealedRequest> {
  const existing = secrets.existing ?? new Uint8Array(0)
  const fresh = secrets.fresh ?? new Uint8Array(0)
  for (const secret of [existing, fresh]) {
    if (secret.length > Limit.secretSize) throw new RangeError(`a secret of ${secret.length} bytes`)
  }
  const aad = new Uint8Array(contextStruct.size)
  encode(contextStruct, contextFields(context), aad)
  const plaintext = new Uint8Array(8 + existing.length + fresh.length)
  try {
    const sizes = new DataView(plaintext.buffer)
    sizes.setUint32(0, existing.length, true)
    sizes.setUint32(4, fresh.length, true)
    plaintext.set(existing, 8)
    plaintext.set(fresh, 8 + existing.length)
    const recipient = await suite.DeserializePublicKey(publicKey)
    const { encapsulatedSecret, ciphertext } = await suite.Seal(recipient, plaintext, { aad, info: INFO })
    const bytes = new Uint8Array(encapsulatedSecret.length + ciphertext.length)
    bytes.set(encapsulatedSecret)
    bytes.set(ciphertext, encapsulatedSecret.length)
    return { context, bytes }
  } finally {
    plaintext.fill(0)
  }
}

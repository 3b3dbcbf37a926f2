/** The recipient's side of sealed requests, by somebody else's implementation; for tests only. */
import { createDecipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman } from "node:crypto"

/** RFC 9180 base mode by node:crypto alone; throws when the tag does not hold. */
export function openHpke(
  secretKey: Buffer,
  publicKey: Buffer,
  message: Uint8Array,
  aad: Uint8Array,
  info = "tresor sealed request v2",
): Buffer {
  const u16 = (value: number) => Buffer.from([value >> 8, value & 255])
  const extract = (salt: Buffer, suite: Buffer, label: string, ikm: Buffer) =>
    createHmac("sha256", salt)
      .update(Buffer.concat([Buffer.from("HPKE-v1"), suite, Buffer.from(label), ikm]))
      .digest()
  const expand = (prk: Buffer, suite: Buffer, label: string, info: Buffer, length: number) => {
    const labeled = Buffer.concat([
      u16(length),
      Buffer.from("HPKE-v1"),
      suite,
      Buffer.from(label),
      info,
      Buffer.from([1]),
    ])
    return createHmac("sha256", prk).update(labeled).digest().subarray(0, length)
  }
  const der = (prefix: string, key: Uint8Array) => Buffer.concat([Buffer.from(prefix, "hex"), key])
  const enc = Buffer.from(message.subarray(0, 32))
  const dh = diffieHellman({
    privateKey: createPrivateKey({
      key: der("302e020100300506032b656e04220420", secretKey),
      format: "der",
      type: "pkcs8",
    }),
    publicKey: createPublicKey({ key: der("302a300506032b656e032100", enc), format: "der", type: "spki" }),
  })
  const kem = Buffer.concat([Buffer.from("KEM"), u16(0x20)])
  const eae = extract(Buffer.alloc(0), kem, "eae_prk", dh)
  const shared = expand(eae, kem, "shared_secret", Buffer.concat([enc, publicKey]), 32)
  const hpke = Buffer.concat([Buffer.from("HPKE"), u16(0x20), u16(1), u16(2)])
  const schedule = Buffer.concat([
    Buffer.from([0]),
    extract(Buffer.alloc(0), hpke, "psk_id_hash", Buffer.alloc(0)),
    extract(Buffer.alloc(0), hpke, "info_hash", Buffer.from(info)),
  ])
  const secret = extract(shared, hpke, "secret", Buffer.alloc(0))
  const decipher = createDecipheriv(
    "aes-256-gcm",
    expand(secret, hpke, "key", schedule, 32),
    expand(secret, hpke, "base_nonce", schedule, 12),
  )
  decipher.setAAD(aad)
  decipher.setAuthTag(message.subarray(-16))
  return Buffer.concat([decipher.update(message.subarray(32, -16)), decipher.final()])
}

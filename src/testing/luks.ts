/** A LUKS2 keyslot opened by node:crypto alone; for tests only. */
import { createDecipheriv, createHash, pbkdf2Sync } from "node:crypto"
import type { Digest, Hash, KeyslotParameters, MadeKeyslot } from "../luks2/types.ts"

/** aes-xts-plain64 as dm-crypt does it: sectors of `sectorSize`, tweaks in 512-byte units from `first`. */
export function decryptXts(key: Uint8Array, sectorSize: number, first: bigint, input: Uint8Array): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < input.length; at += sectorSize) {
    const iv = Buffer.alloc(16)
    iv.writeBigUInt64LE(first + BigInt(at / 512))
    const decipher = createDecipheriv(key.length === 64 ? "aes-256-xts" : "aes-128-xts", key, iv)
    parts.push(decipher.update(input.subarray(at, at + sectorSize)))
  }
  return Buffer.concat(parts)
}

/** LUKS2 specification 1.1, AF splitter: 4000 stripes back to one key. */
function merge(hash: Hash, area: Uint8Array, keySize: number): Buffer {
  const digestSize = createHash(hash).digest().length
  const diffuse = (block: Buffer): Buffer => {
    const parts: Buffer[] = []
    for (let at = 0, index = 0; at < block.length; at += digestSize, index++) {
      const number = Buffer.alloc(4)
      number.writeUInt32BE(index)
      const part = block.subarray(at, at + digestSize)
      parts.push(createHash(hash).update(number).update(part).digest().subarray(0, part.length))
    }
    return Buffer.concat(parts)
  }
  let block: Buffer = Buffer.alloc(keySize)
  for (let stripe = 0; stripe < 4000; stripe++) {
    const part = area.subarray(stripe * keySize, (stripe + 1) * keySize)
    block = Buffer.from(block.map((byte, index) => byte ^ part[index]!))
    if (stripe < 3999) block = diffuse(block)
  }
  return block
}

/** The volume key of a pbkdf2 keyslot; checks the digest. Throws when the passphrase is not its. */
export function volumeKeyOf(slot: KeyslotParameters & MadeKeyslot, digest: Digest, passphrase: Uint8Array): Buffer {
  if (slot.kdf.type !== "pbkdf2") throw new Error("only pbkdf2")
  const areaKey = pbkdf2Sync(passphrase, slot.salt, slot.kdf.iterations, slot.areaKeySize, slot.kdf.hash)
  const key = merge(slot.afHash, decryptXts(areaKey, 512, 0n, slot.area), slot.keySize)
  const check = pbkdf2Sync(key, digest.salt, digest.iterations, digest.digest.length, digest.hash)
  if (!check.equals(digest.digest)) throw new Error("the digest differs")
  return key
}

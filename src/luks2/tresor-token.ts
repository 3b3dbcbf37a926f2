/** The token of a Tresor passphrase (docs/format.md). Pure. */
import type { TresorToken } from "./metadata.ts"
import type { Reader } from "./reader.ts"

const KEYSLOTS = 32
const SEALED_SIZE = 768
const MAC_SIZE = 32
const VERSION = 1

function parseKdf(reader: Reader): TresorToken["kdf"] {
  const type = reader.string("type")
  if (type === "pbkdf2") {
    return {
      type,
      hash: oneOf(reader, "hash", "sha256", "sha512", "sha1"),
      iterations: reader.integer("iterations", 1, 0xffff_ffff),
    }
  }
  if (type !== "argon2i" && type !== "argon2id") throw reader.unknownValue("type", type)
  return {
    type,
    time: reader.integer("time", 1),
    memoryKib: reader.integer("memory", 1),
    lanes: reader.integer("cpus", 1),
  }
}

function sized(reader: Reader, field: string, size: number): Uint8Array {
  const bytes = reader.base64(field)
  if (bytes.length !== size) throw reader.fail(field, `has ${bytes.length} bytes, not ${size}`)
  return bytes
}

function hex(reader: Reader, field: string): string {
  const text = reader.string(field)
  if (!/^[0-9a-f]{64}$/.test(text)) throw reader.fail(field, "is not 64 hexadecimal digits")
  return text
}

function oneOf<const T extends string>(reader: Reader, field: string, ...words: readonly T[]): T {
  const text = reader.string(field)
  const found = words.find((word) => word === text)
  if (found === undefined) throw reader.fail(field, `"${text}" is not one of ${words.join(", ")}`)
  return found
}

/** Throws Odd for a token that is damaged, or of a version to come. */
export function parseTresorToken(reader: Reader, keyslots: readonly number[]): TresorToken {
  const version = reader.integer("version", 0)
  if (version !== VERSION) throw reader.unknownValue("version", version)
  const enclave = reader.object("enclave")
  const mac = reader.object("mac")
  const macs = mac.object("keyslots")
  const slots = Array.from({ length: KEYSLOTS }, (_, slot) => slot).filter((slot) => macs.has(String(slot)))
  return {
    type: "tresor",
    keyslots,
    version: VERSION,
    kdf: parseKdf(reader.object("kdf")),
    sealed: sized(reader, "sealed", SEALED_SIZE),
    enclave: {
      mrsigner: hex(enclave, "mrsigner"),
      mrenclave: hex(enclave, "mrenclave"),
      isvProdId: enclave.integer("isvProdId", 0, 0xffff),
      isvSvn: enclave.integer("isvSvn", 0, 0xffff),
      policy: oneOf(enclave, "policy", "mrsigner", "mrenclave"),
      backend: oneOf(enclave, "backend", "software", "sgx"),
    },
    mac: {
      segment: sized(mac, "segment", MAC_SIZE),
      keyslots: new Map(slots.map((slot) => [slot, sized(macs, String(slot), MAC_SIZE)])),
    },
    ...reader.unknown("type", "keyslots", "version", "kdf", "sealed", "enclave", "mac"),
  }
}

/**
 * The token of a Tresor passphrase (docs/format.md), and what the sealed salt in
 * it says of who sealed it and for what. Pure.
 */
import { BACKENDS, type Backend, macs, SealPolicy, sealedSalt } from "../abi/enclave.ts"
import { decode } from "../abi/struct.ts"
import { toHex } from "../base/hex.ts"
import { type Extensible, object } from "./json.ts"
import { base64, type Fields, numbered, text } from "./json-text.ts"
import { KEYSLOTS } from "./limits.ts"
import type { Reader } from "./reader.ts"
import type { Kdf } from "./types.ts"

export const TRESOR_TOKEN = "tresor"

const MAC_SIZE = macs.fields.segment
const VERSION = 1

export interface TresorToken extends Extensible {
  readonly type: typeof TRESOR_TOKEN
  readonly keyslots: readonly number[]
  readonly version: typeof VERSION
  readonly kdf: Kdf
  /** struct tresor_sealed_salt. */
  readonly sealed: Uint8Array
  readonly enclave: {
    readonly mrsigner: string
    readonly mrenclave: string
    readonly isvProdId: number
    readonly isvSvn: number
    readonly policy: SealPolicy
    readonly backend: Backend
  }
  readonly mac: { readonly segment: Uint8Array; readonly keyslots: ReadonlyMap<number, Uint8Array> }
}

/** Whether a token of any kind is a usable one of ours; a damaged one has the type and is foreign. */
export function isTresorToken(token: { readonly type: string }): token is TresorToken {
  return token.type === TRESOR_TOKEN && !("foreign" in token)
}

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
    type: TRESOR_TOKEN,
    keyslots,
    version: VERSION,
    kdf: parseKdf(reader.object("kdf")),
    sealed: sized(reader, "sealed", sealedSalt.size),
    enclave: {
      mrsigner: hex(enclave, "mrsigner"),
      mrenclave: hex(enclave, "mrenclave"),
      isvProdId: enclave.integer("isvProdId", 0, 0xffff),
      isvSvn: enclave.integer("isvSvn", 0, 0xffff),
      policy: oneOf(enclave, "policy", "mrsigner", "mrenclave"),
      backend: oneOf(enclave, "backend", ...BACKENDS),
    },
    mac: {
      segment: sized(mac, "segment", MAC_SIZE),
      keyslots: new Map(slots.map((slot) => [slot, sized(macs, String(slot), MAC_SIZE)])),
    },
    ...reader.unknown("type", "keyslots", "version", "kdf", "sealed", "enclave", "mac"),
  }
}

function emitKdf(kdf: TresorToken["kdf"]): string {
  return kdf.type === "pbkdf2"
    ? object([
        ["type", text(kdf.type)],
        ["hash", text(kdf.hash)],
        ["iterations", text(kdf.iterations)],
      ])
    : object([
        ["type", text(kdf.type)],
        ["time", text(kdf.time)],
        ["memory", text(kdf.memoryKib)],
        ["cpus", text(kdf.lanes)],
      ])
}

/** What follows type and keyslots. */
export function tresorMembers({ version, kdf, sealed, enclave, mac }: TresorToken): Fields {
  return [
    ["version", text(version)],
    ["kdf", emitKdf(kdf)],
    ["sealed", base64(sealed)],
    ["enclave", object(Object.entries(enclave).map(([name, value]) => [name, text(value)] as const))],
    [
      "mac",
      object([
        ["segment", base64(mac.segment)],
        ["keyslots", numbered(mac.keyslots, base64)],
      ]),
    ],
  ]
}

/** What a sealed salt says in clear. Anybody can have written it: good for telling a person why it does not open. */
export interface Sealer {
  readonly mrenclave: string
  readonly mrsigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  readonly policy: SealPolicy
  /** What it was sealed for. */
  readonly slot: number
  readonly uuid: string
}

export function sealerOf(sealed: Uint8Array): Sealer {
  const { mrenclave, mrsigner, isv_prod_id, isv_svn, policy, slot, uuid } = decode(sealedSalt, sealed)
  const end = uuid.indexOf(0)
  return {
    mrenclave: toHex(mrenclave),
    mrsigner: toHex(mrsigner),
    isvProdId: isv_prod_id,
    isvSvn: isv_svn,
    // Of a damaged one anything: then it is not opened either.
    policy: policy === SealPolicy.mrenclave ? "mrenclave" : "mrsigner",
    slot,
    uuid: new TextDecoder().decode(end < 0 ? uuid : uuid.subarray(0, end)),
  }
}

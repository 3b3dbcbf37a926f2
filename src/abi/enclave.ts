/**
 * abi/enclave.h for TypeScript: the same names, numbers and field order.
 * abi.test.ts reads the header and compares. Pure.
 */
import { struct } from "./struct.ts"

export const ABI_VERSION = 2

/** Where the enclave runs: in the CPU, or emulated in this process. */
export const BACKENDS = ["software", "sgx"] as const
export type Backend = (typeof BACKENDS)[number]

export const Limit = {
  threads: 8,
  keyslots: 32,
  volumes: 16,
  ranges: 256,
  rangeSize: 64 << 20,
  secretSize: 8 << 20,
  stripes: 4000,
} as const

export const ANY_SLOT = 0xffff_ffff

export const Op = {
  hello: 1,
  challenge: 2,
  report: 3,
  create: 4,
  unlock: 5,
  enrol: 6,
  sectors: 7,
  close: 8,
  legacy: 9,
  blocks: 10,
  selftest: 11,
  benchmark: 12,
  assist: 13,
  bequeath: 14,
  inherit: 15,
  reencrypt: 16,
  zone: 17,
  convert: 18,
  approve: 19,
  yield: 20,
  take_over: 21,
  finish: 22,
} as const

export const Status = {
  ok: 0,
  request: 1,
  state: 2,
  handle: 3,
  passphrase: 4,
  message: 5,
  memory: 6,
  unsupported: 7,
  header: 8,
  busy: 9,
  random: 10,
  dead: 11,
  seal_damaged: 16,
  seal_signer: 17,
  seal_enclave: 18,
  seal_version: 19,
  seal_backend: 20,
  seal_machine: 21,
  successor: 22,
  approval: 23,
} as const

export const Purpose = {
  create: 1,
  unlock: 2,
  enrol: 3,
  authenticate: 4,
  legacy: 5,
  succeed: 6,
  reencrypt: 7,
  approve: 8,
  take_over: 9,
} as const
export const KdfType = { pbkdf2: 1, argon2i: 2, argon2id: 3 } as const
export const HashType = { sha1: 1, sha224: 2, sha256: 3, sha384: 4, sha512: 5 } as const
export const CipherType = { "aes-xts-plain64": 1 } as const
export const SealPolicy = { mrenclave: 1, mrsigner: 2 } as const
export const PassMode = { reencrypt: 1, encrypt: 2, decrypt: 3 } as const
export const Resilience = { journal: 1, checksum: 2, datashift: 3 } as const
/** TRESOR_PASS_*: what the handle of a pass is for. */
export const PassUse = { convert: 1, serve: 2, both: 3 } as const
/** TRESOR_CHANGED_* */
export const Changed = { old: 1, new: 2, pass: 4 } as const
export const Mode = { xts: 1, cbc: 2, ctr: 3, ecb: 4, "cbc-essiv": 5 } as const
export type Purpose = keyof typeof Purpose
export type HashType = keyof typeof HashType
export type SealPolicy = keyof typeof SealPolicy
export type Mode = keyof typeof Mode
export const Cpu = { sha: 1, avx2: 2, vaes256: 4, vaes512: 8, rdseed: 16 } as const

/** TRESOR_KEYSLOT_TRY */
export const KEYSLOT_TRY = 1
/** TRESOR_ADMIT_* */
export const Admit = { unsealed: 1, downgrade: 2 } as const
/** TRESOR_KDF_FLOOR_*: what a keyslot that is written costs at least. */
export const KdfFloor = { iterations: 1000, passesKib: 128 } as const

/** enum tresor_test, in order. */
export const SELFTESTS = [
  "AES (FIPS 197)",
  "AES modes (SP 800-38A)",
  "AES-XTS (IEEE 1619)",
  "SHA (FIPS 180)",
  "HMAC (RFC 4231)",
  "PBKDF2 (RFC 6070)",
  "PBKDF2 (RFC 7914)",
  "Argon2 (RFC 9106)",
  "HKDF (RFC 5869)",
  "AES-GCM (SP 800-38D)",
  "X25519 (RFC 7748)",
  "HPKE (RFC 9180)",
  "AF splitter (LUKS)",
  "sealing",
  "random numbers (SP 800-90A)",
  "AES-CMAC (SP 800-38B)",
] as const

export const head = struct("tresor_head", { op: "u32", size: "u32", status: "u32", reserved: "u32" })

export const context = struct("tresor_context", {
  version: "u32",
  purpose: "u32",
  uuid: 40,
  slot: "u32",
  fresh_slot: "u32",
  flags: "u32",
  reserved: "u32",
  nonce: 32,
  request: 32,
})

export const message = struct("tresor_message", { address: "u64", size: "u32", reserved: "u32", context })

export const kdf = struct("tresor_kdf", {
  type: "u32",
  hash: "u32",
  time: "u32",
  memory_kib: "u32",
  lanes: "u32",
  reserved: "u32",
})

export const segment = struct("tresor_segment", {
  cipher: "u32",
  sector_size: "u32",
  key_size: "u32",
  dynamic: "u32",
  offset: "u64",
  size: "u64",
  iv_tweak: "u64",
})

export const digest = struct("tresor_digest", {
  hash: "u32",
  iterations: "u32",
  salt_size: "u32",
  digest_size: "u32",
  salt: 64,
  digest: 64,
})

export const keyslot = struct("tresor_keyslot", {
  slot: "u32",
  flags: "u32",
  kdf,
  af_hash: "u32",
  af_stripes: "u32",
  area_key_size: "u32",
  key_size: "u32",
  salt_size: "u32",
  sealed_size: "u32",
  area_offset: "u64",
  area_size: "u64",
  area: "u64",
  sealed: "u64",
  pass_kdf: kdf,
  salt: 64,
})

export const macs = struct("tresor_macs", {
  present: "u32",
  segment_present: "u32",
  segment: 32,
  keyslot: 32 * 32,
})

export const sealedSalt = struct("tresor_sealed_salt", {
  magic: 8,
  version: "u32",
  policy: "u32",
  checksum: 32,
  key_request: 512,
  mrenclave: 32,
  mrsigner: 32,
  attributes: "u64",
  isv_prod_id: "u16",
  isv_svn: "u16",
  slot: "u32",
  uuid: 40,
  kdf,
  iv: 12,
  tag: 16,
  reserved: 4,
  ciphertext: 32,
})

export const hello = struct("tresor_hello", {
  head,
  abi_version: "u32",
  cpu: "u32",
  dynamic_size: "u64",
  heap_size: "u64",
  public_key: 32,
  mrenclave: 32,
  mrsigner: 32,
  cpu_svn: 16,
  attributes: "u64",
  xfrm: "u64",
  isv_prod_id: "u16",
  isv_svn: "u16",
  reserved: "u32",
})

export const challenge = struct("tresor_challenge", { head, purpose: "u32", reserved: "u32", nonce: 32 })

export const report = struct("tresor_report", { head, nonce: 32, target_info: "u64", report: "u64" })

export const create = struct("tresor_create", {
  head,
  policy: "u32",
  reserved: "u32",
  message,
  segment,
  digest,
  keyslot,
  macs: "u64",
})

export const unlock = struct("tresor_unlock", {
  head,
  message,
  segment,
  digest,
  keyslots: "u64",
  count: "u32",
  macs_missing: "u32",
  macs: "u64",
  macs_out: "u64",
  sealed_out: "u64",
  resealed: "u32",
  slot: "u32",
  handle: "u32",
  slots_changed: "u32",
  slots_added: "u32",
  slots_removed: "u32",
  segment_changed: "u32",
  seal_status: "u32",
  needed_kib: "u32",
  reserved: "u32",
})

export const enrol = struct("tresor_enrol", {
  head,
  message,
  segment,
  digest,
  keyslots: "u64",
  count: "u32",
  policy: "u32",
  fresh: keyslot,
  macs: "u64",
  macs_out: "u64",
  slot: "u32",
  seal_status: "u32",
  needed_kib: "u32",
  slots_changed: "u32",
  segment_changed: "u32",
  macs_missing: "u32",
})

export const outcome = struct("tresor_outcome", {
  slot: "u32",
  seal_status: "u32",
  needed_kib: "u32",
  macs_missing: "u32",
  segment_changed: "u32",
})

export const range = struct("tresor_range", { in: "u64", out: "u64", sector: "u64", length: "u32", reserved: "u32" })

export const sectors = struct("tresor_sectors", {
  head,
  handle: "u32",
  decrypt: "u32",
  count: "u32",
  reserved: "u32",
  ranges: "u64",
})

export const close = struct("tresor_close", { head, handle: "u32", reserved: "u32" })

export const legacy = struct("tresor_legacy", {
  head,
  uuid: 40,
  make: "u32",
  policy: "u32",
  key_size: "u32",
  mode: "u32",
  kdf,
  sealed: "u64",
  sealed_out: "u64",
  message,
  bytes_size: "u32",
  handle: "u32",
  bytes: 256,
  seal_status: "u32",
  reserved: "u32",
})

export const block = struct("tresor_block", {
  in: "u64",
  out: "u64",
  length: "u32",
  handle: "u32",
  mode: "u16",
  decrypt: "u16",
  flags: "u32",
  iv: 16,
  status: "u32",
  reserved: 12,
})

export const blocks = struct("tresor_blocks", { head, count: "u32", reserved: "u32", blocks: "u64" })

export const selftest = struct("tresor_selftest", { head, index: "u32", passed: "u32" })

export const benchmark = struct("tresor_benchmark", { head, kdf, key_size: "u32", needed_kib: "u32" })

export const assist = struct("tresor_assist", { head })

export const handover = struct("tresor_handover", {
  version: "u32",
  policy: "u32",
  slot: "u32",
  reserved: "u32",
  uuid: 40,
  kdf,
  successor: 32,
  salt: 80,
})

export const bequeath = struct("tresor_bequeath", {
  head,
  message,
  segment,
  digest,
  keyslots: "u64",
  count: "u32",
  policy: "u32",
  macs: "u64",
  report: "u64",
  handover: "u64",
  successor: 32,
  public_key: 32,
  nonce: 32,
  outcome,
  reserved: "u32",
})

export const inherit = struct("tresor_inherit", { head, handover: "u64", sealed_out: "u64" })

export const approve = struct("tresor_approve", {
  head,
  message,
  segment,
  digest,
  keyslots: "u64",
  count: "u32",
  handle: "u32",
  macs: "u64",
  successor: 32,
  outcome,
  reserved: "u32",
})

export const yielded = struct("tresor_yielded", {
  version: "u32",
  policy: "u32",
  key_size: "u32",
  reserved: "u32",
  successor: 32,
  nonce: 32,
  key: 112,
})

export const yieldKey = struct("tresor_yield", {
  head,
  handle: "u32",
  reserved: "u32",
  report: "u64",
  yielded: "u64",
  public_key: 32,
  nonce: 32,
})

export const takeOver = struct("tresor_take_over", {
  head,
  uuid: 40,
  segment,
  digest,
  yielded: "u64",
  macs: "u64",
  handle: "u32",
  macs_missing: "u32",
  segment_changed: "u32",
  reserved: "u32",
})

export const pass = struct("tresor_pass", {
  uuid: 40,
  previous: segment,
  final: segment,
  old_digest: digest,
  new_digest: digest,
  resilience: "u32",
  block: "u32",
  area_offset: "u64",
  area_size: "u64",
  mode: "u32",
  reserved: "u32",
  shift: "u64",
  moved: segment,
})

export const progress = struct("tresor_progress", { position: "u64", hot: "u64", probe: 32 })

export const reencrypt = struct("tresor_reencrypt", {
  head,
  message,
  pass: "u64",
  progress,
  verification: digest,
  mac: 32,
  old_keyslots: "u64",
  new_keyslots: "u64",
  old_macs: "u64",
  new_macs: "u64",
  old_count: "u32",
  new_count: "u32",
  start: "u32",
  vouched: "u32",
  use: "u32",
  slot: "u32",
  handle: "u32",
  seal_status: "u32",
  needed_kib: "u32",
  changed: "u32",
  slots_changed: "u32",
  slots_added: "u32",
  slots_removed: "u32",
  reserved: "u32",
})

export const zone = struct("tresor_zone", {
  head,
  handle: "u32",
  last: "u32",
  hot: "u64",
  probe: 32,
  mac: 32,
})

export const convert = struct("tresor_convert", { head, handle: "u32", count: "u32", ranges: "u64" })

export const finish = struct("tresor_finish", { head, handle: "u32", volume: "u32" })

const HASH_SIZE = { sha1: 20, sha224: 28, sha256: 32, sha384: 48, sha512: 64 } as const

/** Bytes of a hash's output. */
export function hashSize(hash: keyof typeof HASH_SIZE): number {
  return HASH_SIZE[hash]
}

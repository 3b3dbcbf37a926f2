/**
 * enclave/enclave.conf: what the ELF cannot say about an enclave. One
 * `key = value` a line, `#` starts a comment, numbers are decimal or 0x hex,
 * sizes may end in K, M or G. Every key must be given once; unknown keys are
 * refused, as a misspelt mask would sign a weaker enclave.
 */
import { Exit, TresorError } from "../../base/errors.ts"

export interface EnclaveConf {
  /** ELRANGE, bytes; a power of two. */
  readonly size: number
  /** Pages per SSA frame. */
  readonly ssaFrameSize: number
  readonly isvProdId: number
  readonly isvSvn: number
  /** MISCSELECT; its mask in the SIGSTRUCT is always all ones. */
  readonly miscSelect: number
  /** ATTRIBUTES.FLAGS of a production enclave: DEBUG and INIT are 0. */
  readonly attributes: bigint
  readonly attributeMask: bigint
  readonly xfrm: bigint
  readonly xfrmMask: bigint
}

export const Attribute = {
  init: 1n << 0n,
  debug: 1n << 1n,
  mode64: 1n << 2n,
  provisionKey: 1n << 4n,
  einitTokenKey: 1n << 5n,
  cet: 1n << 6n,
  kss: 1n << 7n,
  aexNotify: 1n << 10n,
} as const

/** x87 and SSE state: ECREATE refuses an XFRM without them. */
const XFRM_LEGACY = 0x3n

const U16 = 0xffffn
const U32 = 0xffff_ffffn
const U64 = 0xffff_ffff_ffff_ffffn

const FIELDS = {
  size: 1n << 40n,
  ssa_frame_size: U32,
  isv_prod_id: U16,
  isv_svn: U16,
  misc_select: U32,
  attributes: U64,
  attribute_mask: U64,
  xfrm: U64,
  xfrm_mask: U64,
} as const

type Field = keyof typeof FIELDS

function fail(fact: string): TresorError {
  return new TresorError("IMAGE_BAD_CONF", Exit.badArguments, `Cannot use enclave.conf: ${fact}`)
}

const UNITS: Readonly<Record<string, bigint>> = { "": 1n, K: 1n << 10n, M: 1n << 20n, G: 1n << 30n }

/** Throws TresorError IMAGE_BAD_CONF naming the line. */
export function parseConf(text: string): EnclaveConf {
  const values = new Map<Field, bigint>()
  for (const [index, line] of text.split("\n").entries()) {
    const content = line.replace(/#.*/, "").trim()
    if (content === "") continue
    const match = /^([a-z0-9_]+)\s*=\s*(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})([KMG]?)$/.exec(content)
    if (match === null) throw fail(`line ${index + 1} is not "key = number"`)
    const [, name, digits, unit] = match
    if (!Object.hasOwn(FIELDS, name!)) throw fail(`line ${index + 1} has an unknown key, ${name}`)
    const field = name as Field
    if (values.has(field)) throw fail(`${field} is given twice`)
    const value = BigInt(digits!) * UNITS[unit!]!
    if (value > FIELDS[field]) throw fail(`${field} is larger than ${FIELDS[field]}`)
    values.set(field, value)
  }
  const get = (field: Field): bigint => {
    const value = values.get(field)
    if (value === undefined) throw fail(`${field} is missing`)
    return value
  }
  const conf: EnclaveConf = {
    size: Number(get("size")),
    ssaFrameSize: Number(get("ssa_frame_size")),
    isvProdId: Number(get("isv_prod_id")),
    isvSvn: Number(get("isv_svn")),
    miscSelect: Number(get("misc_select")),
    attributes: get("attributes"),
    attributeMask: get("attribute_mask"),
    xfrm: get("xfrm"),
    xfrmMask: get("xfrm_mask"),
  }
  if (conf.size < 8192 || (get("size") & (get("size") - 1n)) !== 0n) {
    throw fail(`size ${conf.size} is not a power of two of at least 8192`)
  }
  if (conf.ssaFrameSize < 1) throw fail("ssa_frame_size is 0")
  if ((conf.attributes & (Attribute.init | Attribute.debug)) !== 0n) {
    throw fail("attributes contain INIT or DEBUG; DEBUG is asked for when signing")
  }
  if ((conf.attributes & Attribute.mode64) === 0n) throw fail("attributes lack MODE64BIT")
  // Any bit left out of the mask is the host's to choose, DEBUG first of all.
  if (conf.attributeMask !== U64) throw fail("attribute_mask is not all ones: the host could set DEBUG")
  if ((conf.xfrm & XFRM_LEGACY) !== XFRM_LEGACY) throw fail("xfrm lacks x87 and SSE (0x3)")
  if ((conf.xfrmMask & XFRM_LEGACY) !== XFRM_LEGACY) throw fail("xfrm_mask leaves x87 and SSE open")
  return conf
}

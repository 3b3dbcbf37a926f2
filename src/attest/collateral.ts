/**
 * What a quote is judged by: certificates, CRLs, TCB info and QE identity.
 * Pieces are told apart by their content, not by file names, so a folder of
 * PCS answers, a PCCS dump or Intel's sample data serve alike. Nothing here is
 * trusted: the verifier checks every signature up to the pinned root key.
 */
import * as v from "valibot"
import { jsonFault, parseJson } from "../json.ts"
import { fromHex } from "./bytes.ts"
import { type Crl, parseCertificate, parseCrl, pemBlocks, type X509 } from "./certificates.ts"
import { Refusal } from "./refusal.ts"

/** A JSON text as it was signed, byte for byte, and r || s. */
export interface Signed {
  readonly text: string
  readonly signature: Uint8Array
}

export interface Collateral {
  readonly certificates: readonly X509[]
  readonly crls: readonly Crl[]
  readonly tcbInfo: Signed
  readonly qeIdentity: Signed
}

/**
 * The text of the object that is the value of `key` in the outermost object of
 * `json`, exactly as it stands there. `null` when there is none.
 */
export function innerObject(json: string, key: string): string | null {
  let depth = 0
  let start = -1
  let lastString = ""
  for (let at = 0; at < json.length; at++) {
    const char = json[at]
    if (char === '"') {
      const from = at + 1
      for (at++; at < json.length && json[at] !== '"'; at++) if (json[at] === "\\") at++
      lastString = json.slice(from, at)
    } else if (char === "{" || char === "[") {
      depth++
      if (char === "{" && depth === 2 && start < 0 && lastString === key) start = at
    } else if (char === "}" || char === "]") {
      depth--
      if (depth === 1 && start >= 0) return json.slice(start, at + 1)
    } else if (char === "," && depth === 1) {
      lastString = ""
    }
  }
  return null
}

function hexOf(what: string, text: string): Uint8Array {
  const bytes = fromHex(text.trim())
  if (bytes === null) throw new Refusal(`the ${what} is not hex`)
  return bytes
}

const bundleSchema = v.looseObject({
  pck_crl_issuer_chain: v.string(),
  root_ca_crl: v.string(),
  pck_crl: v.string(),
  tcb_info_issuer_chain: v.string(),
  tcb_info: v.string(),
  tcb_info_signature: v.string(),
  qe_identity_issuer_chain: v.string(),
  qe_identity: v.string(),
  qe_identity_signature: v.string(),
  /** For quotes that carry no chain. */
  pck_certificate_chain: v.optional(v.nullable(v.string())),
})

/** One JSON object with all pieces as strings. Throws Refusal. */
export function parseBundle(text: string): Collateral {
  let value: unknown
  try {
    value = parseJson(text)
  } catch (cause) {
    throw new Refusal(`the collateral ${jsonFault(cause)}`, { cause })
  }
  const parsed = v.safeParse(bundleSchema, value)
  if (!parsed.success) {
    throw new Refusal(`the collateral lacks ${v.getDotPath(parsed.issues[0]) ?? "its keys"}`)
  }
  const bundle = parsed.output
  const chains = [
    bundle.pck_certificate_chain ?? "",
    bundle.pck_crl_issuer_chain,
    bundle.tcb_info_issuer_chain,
    bundle.qe_identity_issuer_chain,
  ]
  return {
    certificates: chains.flatMap((chain) => pemBlocks(chain, "CERTIFICATE").map(parseCertificate)),
    crls: [parseCrl(hexOf("root CA CRL", bundle.root_ca_crl)), parseCrl(hexOf("PCK CRL", bundle.pck_crl))],
    tcbInfo: { text: bundle.tcb_info, signature: hexOf("TCB info's signature", bundle.tcb_info_signature) },
    qeIdentity: { text: bundle.qe_identity, signature: hexOf("QE identity's signature", bundle.qe_identity_signature) },
  }
}

function signedValue(text: string, key: string): Signed | null {
  const inner = innerObject(text, key)
  if (inner === null) return null
  let outer: unknown
  try {
    outer = parseJson(text)
  } catch (cause) {
    throw new Refusal(`the file with "${key}" ${jsonFault(cause)}`, { cause })
  }
  const { signature } = outer as { readonly signature?: unknown }
  if (typeof signature !== "string") throw new Refusal(`the file with "${key}" has no signature`)
  return { text: inner, signature: hexOf(`signature of "${key}"`, signature) }
}

/** Percent signs stand for PEM in the PCS's issuer chain headers. */
function percentDecoded(text: string): string {
  if (!text.includes("-----BEGIN%20")) return text
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}

/** DER of a certificate or CRL; other binary files (a quote, say) may lie beside them. */
function parseDer(der: Uint8Array): { readonly certificate: X509 } | { readonly crl: Crl } | null {
  try {
    return { crl: parseCrl(der) }
  } catch {
    try {
      return { certificate: parseCertificate(der) }
    } catch {
      return null
    }
  }
}

/**
 * The files of a folder: PCS bodies (JSON with "tcbInfo" or
 * "enclaveIdentity"), CRLs as DER, PEM or hex, chains as PEM or as the
 * percent-encoded headers they come in (a saved header block will do).
 */
export function parseFiles(files: ReadonlyMap<string, Uint8Array>): Collateral {
  const certificates: X509[] = []
  const crls: Crl[] = []
  let tcbInfo: Signed | null = null
  let qeIdentity: Signed | null = null
  const addDer = (der: Uint8Array): void => {
    const found = parseDer(der)
    if (found !== null && "crl" in found) crls.push(found.crl)
    else if (found !== null) certificates.push(found.certificate)
  }
  for (const name of [...files.keys()].sort()) {
    const bytes = files.get(name)!
    if (bytes[0] === 0x30) {
      addDer(bytes)
      continue
    }
    const text = percentDecoded(new TextDecoder().decode(bytes))
    certificates.push(...pemBlocks(text, "CERTIFICATE").map(parseCertificate))
    crls.push(...pemBlocks(text, "X509 CRL").map(parseCrl))
    // PCCS gives the root CA's CRL as hex.
    const hex = /^\s*(30[0-9a-fA-F]+)\s*$/.exec(text)
    if (hex !== null) addDer(hexOf(name, hex[1]!))
    tcbInfo ??= signedValue(text, "tcbInfo")
    qeIdentity ??= signedValue(text, "enclaveIdentity")
  }
  if (tcbInfo === null) throw new Refusal("the collateral has no TCB info")
  if (qeIdentity === null) throw new Refusal("the collateral has no QE identity")
  return { certificates, crls, tcbInfo, qeIdentity }
}

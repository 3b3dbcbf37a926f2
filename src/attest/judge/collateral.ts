/**
 * The data a quote is judged by: certificates, CRLs, TCB infos and QE identities.
 * Pieces are told apart by their content, not by file names, so a folder of
 * PCS answers, a PCCS dump or Intel's sample data serve alike, of one platform
 * or of many. Nothing here is trusted: the verifier takes the pieces that fit
 * the quote and checks every signature up to the pinned root key.
 */
import * as v from "valibot"
import { jsonFault, parseJson } from "../../base/json.ts"
import { fromHex } from "./bytes.ts"
import { type Crl, parseCertificate, parseCrl, pemBlocks, type X509 } from "./certificates.ts"
import { Refusal } from "./refusal.ts"
import { bare, crlBytes, derOfText, splitAnswer } from "./wrapping.ts"

/** A JSON text as it was signed, byte for byte, and r || s. */
export interface Signed {
  readonly text: string
  readonly signature: Uint8Array
}

export interface Collateral {
  readonly certificates: readonly X509[]
  readonly crls: readonly Crl[]
  readonly tcbInfos: readonly Signed[]
  readonly qeIdentities: readonly Signed[]
  /** What was found and cannot be used, a fact each; told when something is missing. */
  readonly unusable: readonly string[]
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

function signatureOf(what: string, text: string): Uint8Array {
  const bytes = fromHex(bare(text))
  if (bytes === null) throw new Refusal(`the signature of the ${what} is not hex`)
  return bytes
}

/** The object under `key` with the signature beside it. `null`: no such key. */
function signedValue(what: string, text: string, key: string): Signed | null {
  const inner = innerObject(text, key)
  if (inner === null) return null
  let outer: unknown
  try {
    outer = parseJson(text)
  } catch (cause) {
    throw new Refusal(`the file with "${key}" ${jsonFault(cause)}`, { cause })
  }
  const { signature } = outer as { readonly signature?: unknown }
  if (typeof signature !== "string") throw new Refusal(`the JSON with "${key}" has no signature`)
  return { text: inner, signature: signatureOf(what, signature) }
}

/** Percent signs stand for PEM in the PCS's issuer chain headers. */
function percentDecoded(text: string): string {
  if (!text.includes("-----BEGIN%20")) return text
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}

const bundleSchema = v.looseObject({
  pck_crl_issuer_chain: v.string(),
  root_ca_crl: v.string(),
  pck_crl: v.string(),
  tcb_info_issuer_chain: v.string(),
  tcb_info: v.string(),
  tcb_info_signature: v.optional(v.string()),
  qe_identity_issuer_chain: v.string(),
  qe_identity: v.string(),
  qe_identity_signature: v.optional(v.string()),
  /** For quotes that carry no chain. */
  pck_certificate_chain: v.optional(v.nullable(v.string())),
})
type Bundle = v.InferOutput<typeof bundleSchema>

/** Intel's libraries have the answer whole in that place, others its signed value and the signature beside it. */
function bundledValue(what: string, text: string, key: string, signature: string | undefined): Signed {
  const whole = signedValue(what, bare(text), key)
  if (whole !== null) return whole
  if (signature === undefined) throw new Refusal(`the collateral has no signature of the ${what}`)
  return { text: text.replace(/\0+$/, ""), signature: signatureOf(what, signature) }
}

/** One certificate, CRL or answer that is of no use must not spoil those beside it. */
class Pieces {
  readonly #certificates: X509[] = []
  readonly #crls: Crl[] = []
  readonly #tcbInfos: Signed[] = []
  readonly #qeIdentities: Signed[] = []
  readonly #unusable: string[] = []

  /** Runs `add`, whose Refusal is a fact about `name`. */
  #attempt(name: string, add: () => void): boolean {
    try {
      add()
      return true
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#unusable.push(`${name}: ${error.message}`)
      return false
    }
  }

  #addChain(name: string, text: string): void {
    this.#attempt(name, () => {
      for (const der of pemBlocks(percentDecoded(text), "CERTIFICATE")) {
        this.#attempt(name, () => this.#certificates.push(parseCertificate(der)))
      }
    })
  }

  /** Throws Refusal: in a bundle it is known what each piece is. */
  addBundle(bundle: Bundle): void {
    this.#addChain("pck_certificate_chain", bundle.pck_certificate_chain ?? "")
    this.#addChain("pck_crl_issuer_chain", bundle.pck_crl_issuer_chain)
    this.#addChain("tcb_info_issuer_chain", bundle.tcb_info_issuer_chain)
    this.#addChain("qe_identity_issuer_chain", bundle.qe_identity_issuer_chain)
    const { tcb_info, tcb_info_signature, qe_identity, qe_identity_signature } = bundle
    const crls = [parseCrl(crlBytes("root CA CRL", bundle.root_ca_crl)), parseCrl(crlBytes("PCK CRL", bundle.pck_crl))]
    const tcbInfo = bundledValue("TCB info", tcb_info, "tcbInfo", tcb_info_signature)
    const qeIdentity = bundledValue("QE identity", qe_identity, "enclaveIdentity", qe_identity_signature)
    this.#crls.push(...crls)
    this.#tcbInfos.push(tcbInfo)
    this.#qeIdentities.push(qeIdentity)
  }

  /** A file of a folder, which may as well be a quote, a key or a note. */
  addFile(name: string, file: Uint8Array): void {
    const { headers, body } = splitAnswer(file)
    this.#addChain(name, headers)
    if (body[0] === 0x30 && this.#addDer(body)) return
    const text = bare(percentDecoded(new TextDecoder().decode(body)))
    this.#addChain(name, text)
    this.#attempt(name, () => {
      for (const der of pemBlocks(text, "X509 CRL")) this.#attempt(name, () => this.#crls.push(parseCrl(der)))
    })
    const der = derOfText(text)
    if (der !== null && !this.#addDer(der)) this.#unusable.push(`${name}: it is neither a P-256 certificate nor a CRL`)
    this.#attempt(name, () => {
      const tcbInfo = signedValue("TCB info", text, "tcbInfo")
      if (tcbInfo !== null) this.#tcbInfos.push(tcbInfo)
      const qeIdentity = signedValue("QE identity", text, "enclaveIdentity")
      if (qeIdentity !== null) this.#qeIdentities.push(qeIdentity)
    })
    if (text.startsWith("{") && text.includes('"tcb_info_issuer_chain"')) {
      this.#attempt(name, () => this.addBundle(parseBundleText(text)))
    }
  }

  /** False: neither a certificate nor a CRL. */
  #addDer(der: Uint8Array): boolean {
    for (const add of [() => this.#crls.push(parseCrl(der)), () => this.#certificates.push(parseCertificate(der))]) {
      try {
        add()
        return true
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
      }
    }
    return false
  }

  finish(): Collateral {
    const pieces = {
      certificates: this.#certificates,
      crls: this.#crls,
      tcbInfos: this.#tcbInfos,
      qeIdentities: this.#qeIdentities,
      unusable: this.#unusable,
    }
    if (pieces.tcbInfos.length === 0) throw new Refusal(missing("TCB info", pieces))
    if (pieces.qeIdentities.length === 0) throw new Refusal(missing("QE identity", pieces))
    return pieces
  }
}

/** That the collateral has no `what`, and what it might have been. */
export function missing(what: string, { unusable }: Pick<Collateral, "unusable">): string {
  const more = unusable.length > 3 ? `; and ${unusable.length - 3} more` : ""
  const found = unusable.length === 0 ? "" : ` (unusable: ${unusable.slice(0, 3).join("; ")}${more})`
  return `the collateral has no ${what}${found}`
}

function parseBundleText(text: string): Bundle {
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
  return parsed.output
}

/** One JSON object with all pieces as strings. Throws Refusal. */
export function parseBundle(text: string): Collateral {
  const pieces = new Pieces()
  pieces.addBundle(parseBundleText(bare(text)))
  return pieces.finish()
}

/**
 * The files of a folder: PCS bodies (JSON with "tcbInfo" or
 * "enclaveIdentity"), CRLs as DER, PEM, hex or base64, chains as PEM or as the
 * percent-encoded headers they come in (a saved header block or the output of
 * `curl -i` will do), bundles. Throws Refusal.
 */
export function parseFiles(files: ReadonlyMap<string, Uint8Array>): Collateral {
  const pieces = new Pieces()
  for (const name of [...files.keys()].sort()) pieces.addFile(name, files.get(name)!)
  return pieces.finish()
}

/**
 * X.509 as Intel's provisioning PKI uses it: P-256 and SHA-256 throughout, a
 * root, one intermediate and a leaf, two CRLs. Parsing is pkijs's; what a
 * certificate must be to take its place in the chain is decided here.
 *
 * These bytes come from whoever wants a passphrase. Everything that is needed
 * of them is read at once, inside `total`, and kept as plain values: no later
 * step meets a library's exception.
 */
import * as asn1js from "asn1js"
import { Certificate, CertificateRevocationList, type Extension, type RelativeDistinguishedNames } from "pkijs"
import { concat, equal, fromHex, toHex, verifyP256 } from "./bytes.ts"
import { Refusal } from "./refusal.ts"

const Oid = {
  ecdsaSha256: "1.2.840.10045.4.3.2",
  ecPublicKey: "1.2.840.10045.2.1",
  prime256v1: "1.2.840.10045.3.1.7",
  commonName: "2.5.4.3",
  keyUsage: "2.5.29.15",
  basicConstraints: "2.5.29.19",
  crlNumber: "2.5.29.20",
  authorityKeyIdentifier: "2.5.29.35",
  sgx: "1.2.840.113741.1.13.1",
} as const

/** First byte of the KeyUsage bit string (RFC 5280, 4.2.1.3). */
const KeyUsage = { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 } as const

/** Elements of a certificate, with room; a quote of somebody's brings any number of them. */
const CERTIFICATE_NODES = 10_000
/** A CRL has seven for each certificate it revokes, and lies in the user's own folder. */
const CRL_NODES = 1_000_000

/** What the issuer signed, and r || s; `null` unless it is an ECDSA signature over SHA-256. */
interface SignedPart {
  readonly bytes: Uint8Array
  readonly signature: Uint8Array | null
}

export interface X509 {
  readonly commonName: string
  readonly issuerName: string
  /** The whole names, as encoded. */
  readonly subject: Uint8Array
  readonly issuer: Uint8Array
  /** Hex, as encoded. */
  readonly serial: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** 04 || x || y. */
  readonly publicKey: Uint8Array
  readonly isCa: boolean
  readonly keyUsage: number
  readonly isSelfIssued: boolean
  /** Content of Intel's SGX extension. */
  readonly sgxExtension: Uint8Array | null
  readonly signed: SignedPart
}

export interface Crl {
  readonly issuerName: string
  readonly issuer: Uint8Array
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  readonly revoked: ReadonlySet<string>
  readonly signed: SignedPart
}

/** Whatever a library throws over these bytes refuses them, and no more. */
function total<T>(fact: string, body: () => T): T {
  try {
    return body()
  } catch (cause) {
    if (cause instanceof Refusal) throw cause
    throw new Refusal(fact, { cause })
  }
}

/** One element and nothing behind it. */
function decode(der: Uint8Array, maxNodes: number): asn1js.BaseBlock {
  const { offset, result } = asn1js.fromBER(Uint8Array.from(der), { maxNodes })
  if (offset !== der.length) throw new RangeError(result.error || "bytes follow")
  return result
}

/** For people to read; what is compared is the whole name. */
function commonNameOf(name: RelativeDistinguishedNames): string {
  const entry = name.typesAndValues.find(({ type }) => type === Oid.commonName)
  return entry === undefined ? "" : String(entry.value.valueBlock.value)
}

function encoded(name: RelativeDistinguishedNames): Uint8Array {
  return new Uint8Array(name.valueBeforeDecode)
}

function serialOf(integer: asn1js.Integer): string {
  return toHex(new Uint8Array(integer.valueBlock.valueHexView))
}

/** A comparison with an invalid time is false both ways, and would pass. */
function timeOf(what: string, { value }: { readonly value: Date }): Date {
  if (Number.isNaN(value.getTime())) throw new Refusal(`${what} has an invalid time`)
  return value
}

/** DER ECDSA-Sig-Value to r || s. `null` when it is none. */
function rawSignature(der: Uint8Array): Uint8Array | null {
  const { result } = asn1js.fromBER(Uint8Array.from(der))
  if (!(result instanceof asn1js.Sequence) || result.valueBlock.value.length !== 2) return null
  const halves = result.valueBlock.value.map((value) => {
    if (!(value instanceof asn1js.Integer)) return null
    const digits = toHex(new Uint8Array(value.valueBlock.valueHexView)).replace(/^(00)+/, "")
    return digits.length > 64 ? null : fromHex(digits.padStart(64, "0"))
  })
  const [r, s] = halves
  return r == null || s == null ? null : concat(r, s)
}

function signedPart(object: Certificate | CertificateRevocationList): SignedPart {
  const isEcdsa = [object.signatureAlgorithm, object.signature].every(
    ({ algorithmId }) => algorithmId === Oid.ecdsaSha256,
  )
  return {
    bytes: Uint8Array.from(object.tbsView),
    signature: isEcdsa ? rawSignature(new Uint8Array(object.signatureValue.valueBlock.valueHexView)) : null,
  }
}

/** Whether a critical extension is in there that is not one of `known`. */
function unknownCritical(extensions: readonly Extension[], known: readonly string[]): string | undefined {
  return extensions.find(({ critical, extnID }) => critical && !known.includes(extnID))?.extnID
}

export function parseCertificate(der: Uint8Array): X509 {
  return total("a certificate is not DER", () => {
    const parsed = new Certificate({ schema: decode(der, CERTIFICATE_NODES) })
    const commonName = commonNameOf(parsed.subject)
    const what = `the certificate "${commonName}"`
    const bad = (fact: string): Refusal => new Refusal(`${what} ${fact}`)
    const { algorithm, subjectPublicKey } = parsed.subjectPublicKeyInfo
    const curve =
      algorithm.algorithmParams instanceof asn1js.ObjectIdentifier ? algorithm.algorithmParams.getValue() : ""
    const publicKey = new Uint8Array(subjectPublicKey.valueBlock.valueHexView)
    if (algorithm.algorithmId !== Oid.ecPublicKey || curve !== Oid.prime256v1 || publicKey.length !== 65) {
      throw bad("has no P-256 key")
    }
    let isCa = false
    let keyUsage = 0
    let sgxExtension: Uint8Array | null = null
    const seen = new Set<string>()
    const extensions = parsed.extensions ?? []
    for (const { extnID, extnValue, parsedValue } of extensions) {
      if (seen.has(extnID)) throw bad(`has the extension ${extnID} twice`)
      seen.add(extnID)
      if (extnID === Oid.basicConstraints) {
        isCa = (parsedValue as { readonly cA?: boolean } | undefined)?.cA === true
      } else if (extnID === Oid.keyUsage) {
        const bits = parsedValue as asn1js.BitString | undefined
        keyUsage = bits === undefined ? 0 : (new Uint8Array(bits.valueBlock.valueHexView)[0] ?? 0)
      } else if (extnID === Oid.sgx) {
        sgxExtension = new Uint8Array(extnValue.valueBlock.valueHexView)
      }
    }
    const unknown = unknownCritical(extensions, [Oid.basicConstraints, Oid.keyUsage, Oid.sgx])
    if (unknown !== undefined) throw bad(`has an unknown critical extension, ${unknown}`)
    const [subject, issuer] = [encoded(parsed.subject), encoded(parsed.issuer)]
    return {
      commonName,
      issuerName: commonNameOf(parsed.issuer),
      subject,
      issuer,
      serial: serialOf(parsed.serialNumber),
      notBefore: timeOf(what, parsed.notBefore),
      notAfter: timeOf(what, parsed.notAfter),
      publicKey,
      isCa,
      keyUsage,
      isSelfIssued: equal(issuer, subject),
      sgxExtension,
      signed: signedPart(parsed),
    }
  })
}

export function parseCrl(der: Uint8Array): Crl {
  return total("a CRL is not DER", () => {
    const parsed = new CertificateRevocationList({ schema: decode(der, CRL_NODES) })
    const issuerName = commonNameOf(parsed.issuer)
    const what = `the CRL of "${issuerName}"`
    // Intel's CRLs always say when the next one comes; without it freshness cannot be judged.
    if (parsed.nextUpdate === undefined) throw new Refusal(`${what} has no nextUpdate`)
    const entries = parsed.revokedCertificates ?? []
    // A critical extension that is not understood may change what the list means (RFC 5280, 5.2 and 5.3).
    const unknown =
      unknownCritical(parsed.crlExtensions?.extensions ?? [], [Oid.crlNumber, Oid.authorityKeyIdentifier]) ??
      entries
        .map((entry) => unknownCritical(entry.crlEntryExtensions?.extensions ?? [], []))
        .find((id) => id !== undefined)
    if (unknown !== undefined) throw new Refusal(`${what} has an unknown critical extension, ${unknown}`)
    return {
      issuerName,
      issuer: encoded(parsed.issuer),
      thisUpdate: timeOf(what, parsed.thisUpdate),
      nextUpdate: timeOf(what, parsed.nextUpdate),
      revoked: new Set(entries.map((entry) => serialOf(entry.userCertificate))),
      signed: signedPart(parsed),
    }
  })
}

/** Every block of that kind; text around them, and a trailing NUL, are allowed (RFC 7468). */
export function pemBlocks(text: string, kind: "CERTIFICATE" | "X509 CRL" | "PUBLIC KEY"): Uint8Array[] {
  const blocks = text.matchAll(new RegExp(`-----BEGIN ${kind}-----([A-Za-z0-9+/=\\s]*)-----END ${kind}-----`, "g"))
  return Array.from(blocks, ([, body]) => {
    try {
      return Uint8Array.from(atob(body!.replace(/\s/g, "")), (c) => c.charCodeAt(0))
    } catch (cause) {
      throw new Refusal(`a PEM block (${kind}) is not base64`, { cause })
    }
  })
}

/** 04 || x || y of a pinned root: a certificate or public key in PEM, or DER of a certificate. */
export function parseRootKey(bytes: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(bytes)
  const [certificate] = pemBlocks(text, "CERTIFICATE")
  if (certificate !== undefined) return parseCertificate(certificate).publicKey
  const [publicKey] = pemBlocks(text, "PUBLIC KEY")
  if (publicKey === undefined) return parseCertificate(bytes).publicKey
  // SubjectPublicKeyInfo of P-256 has one encoding; the point is its last 65 bytes.
  const prefix = "3059301306072a8648ce3d020106082a8648ce3d030107034200"
  if (publicKey.length !== 91 || toHex(publicKey.subarray(0, 26)) !== prefix)
    throw new Refusal("the root key is not P-256")
  return publicKey.subarray(26)
}

async function isSignedBy(issuerKey: Uint8Array, { bytes, signature }: SignedPart): Promise<boolean> {
  return signature !== null && (await verifyP256(issuerKey, bytes, signature))
}

/** Name, CA rights and signature: `issuer` issued `subject`. Throws Refusal. */
export async function checkIssued(subject: X509, issuer: X509): Promise<void> {
  const what = `the certificate "${subject.commonName}"`
  if (!equal(subject.issuer, issuer.subject)) {
    throw new Refusal(`${what} is issued by "${subject.issuerName}", not by "${issuer.commonName}"`)
  }
  if (!issuer.isCa) throw new Refusal(`the certificate "${issuer.commonName}" is not a CA certificate`)
  if ((issuer.keyUsage & KeyUsage.keyCertSign) === 0) {
    throw new Refusal(`the certificate "${issuer.commonName}" may not sign certificates`)
  }
  if (!(await isSignedBy(issuer.publicKey, subject.signed))) {
    throw new Refusal(`${what} is not signed by "${issuer.commonName}"`)
  }
}

export function checkEndEntity(certificate: X509): void {
  const what = `the certificate "${certificate.commonName}"`
  if (certificate.isCa) throw new Refusal(`${what} is a CA`)
  if ((certificate.keyUsage & KeyUsage.digitalSignature) === 0) throw new Refusal(`${what} may not sign`)
}

export function checkValidity(certificate: X509, at: Date): void {
  const what = `the certificate "${certificate.commonName}"`
  if (at < certificate.notBefore)
    throw new Refusal(`${what} is not valid before ${certificate.notBefore.toISOString()}`)
  if (at > certificate.notAfter) throw new Refusal(`${what} expired ${certificate.notAfter.toISOString()}`)
}

export async function checkCrl(crl: Crl, issuer: X509, at: Date): Promise<void> {
  const what = `the CRL of "${crl.issuerName}"`
  if ((issuer.keyUsage & KeyUsage.cRLSign) === 0) {
    throw new Refusal(`the certificate "${issuer.commonName}" may not sign CRLs`)
  }
  if (!(await isSignedBy(issuer.publicKey, crl.signed))) throw new Refusal(`${what} is not signed by its issuer`)
  if (at < crl.thisUpdate) throw new Refusal(`${what} is not valid before ${crl.thisUpdate.toISOString()}`)
  if (at > crl.nextUpdate) throw new Refusal(`${what} expired ${crl.nextUpdate.toISOString()}`)
}

/** What the PCK certificate says of its platform (Intel SGX PCK Certificate specification, 1.3.5). */
export interface PckExtension {
  readonly ppid: string
  readonly components: readonly number[]
  readonly pceSvn: number
  readonly pceId: string
  readonly fmspc: string
}

export function parsePckExtension(certificate: X509): PckExtension {
  const { sgxExtension } = certificate
  if (sgxExtension === null) throw new Refusal("the PCK certificate has no SGX extension")
  return total("the PCK certificate's SGX extension is not DER", () => readPckExtension(sgxExtension))
}

type Entries = ReadonlyMap<string, asn1js.BaseBlock>

function readPckExtension(extension: Uint8Array): PckExtension {
  const bad = (what: string): Refusal => new Refusal(`the PCK certificate's SGX extension has a bad ${what}`)
  const entries = (block: asn1js.BaseBlock): Entries => {
    if (!(block instanceof asn1js.Sequence)) throw bad("structure")
    const map = new Map<string, asn1js.BaseBlock>()
    for (const item of block.valueBlock.value) {
      if (!(item instanceof asn1js.Sequence)) throw bad("structure")
      const [oid, value] = item.valueBlock.value
      if (!(oid instanceof asn1js.ObjectIdentifier) || value === undefined) throw bad("structure")
      const name = oid.getValue()
      if (map.has(name)) throw bad(`${name}: it is there twice`)
      map.set(name, value)
    }
    return map
  }
  const octets = (map: Entries, oid: string, length: number, what: string): string => {
    const block = map.get(oid)
    if (!(block instanceof asn1js.OctetString)) throw bad(what)
    const bytes = new Uint8Array(block.valueBlock.valueHexView)
    if (bytes.length !== length) throw bad(what)
    return toHex(bytes)
  }
  const svn = (map: Entries, oid: string, limit: number, what: string): number => {
    const block = map.get(oid)
    if (!(block instanceof asn1js.Integer)) throw bad(what)
    const value = block.toBigInt()
    if (value < 0n || value > BigInt(limit)) throw bad(what)
    return Number(value)
  }
  const outer = entries(decode(extension, CERTIFICATE_NODES))
  const tcbBlock = outer.get(`${Oid.sgx}.2`)
  if (tcbBlock === undefined) throw bad("TCB")
  const tcb = entries(tcbBlock)
  // Not needed, and in every certificate of Intel's: its library refuses one without.
  octets(tcb, `${Oid.sgx}.2.18`, 16, "CPUSVN")
  if (!(outer.get(`${Oid.sgx}.5`) instanceof asn1js.Enumerated)) throw bad("SGX type")
  return {
    ppid: octets(outer, `${Oid.sgx}.1`, 16, "PPID"),
    components: Array.from({ length: 16 }, (_, i) => svn(tcb, `${Oid.sgx}.2.${i + 1}`, 255, `component ${i + 1}`)),
    pceSvn: svn(tcb, `${Oid.sgx}.2.17`, 65535, "PCESVN"),
    pceId: octets(outer, `${Oid.sgx}.3`, 2, "PCE-ID"),
    fmspc: octets(outer, `${Oid.sgx}.4`, 6, "FMSPC"),
  }
}

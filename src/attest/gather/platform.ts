/**
 * Plays the platform: a provisioning PKI, its collateral and quotes, in the
 * formats Intel's are in, under a root of one's own. The software backend's
 * test quotes come from here, and the verifier's tests alter one field of it
 * at a time. Every key but the root's lives for one platform only.
 */
import * as asn1js from "asn1js"
import {
  AttributeTypeAndValue,
  BasicConstraints,
  Certificate,
  CertificateRevocationList,
  Extension,
  RelativeDistinguishedNames,
  RevokedCertificate,
  Time,
} from "pkijs"
import { REPORT_BODY_SIZE } from "../../abi/sgx.ts"
import { concat, fromHex, sha256, toHex, viewOf } from "../judge/bytes.ts"
import { INTEL_QE_VENDOR } from "../judge/quote.ts"

const SGX = "1.2.840.113741.1.13.1"
const P256 = { name: "ECDSA", namedCurve: "P-256" } as const
const ES256 = { name: "ECDSA", hash: "SHA-256" } as const
const KEY_USES = ["sign", "verify"] as const

/** WebCrypto's, by the names both Node and browsers type them under. */
export type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>
export interface KeyPair {
  readonly publicKey: Key
  readonly privateKey: Key
}

export interface CertificateSpec {
  readonly commonName: string
  readonly serial: number
  readonly notBefore: Date
  readonly notAfter: Date
  readonly ca: boolean
  /** First byte of KeyUsage. */
  readonly keyUsage: number
}

export interface TcbLevelSpec {
  readonly components: readonly number[]
  readonly pceSvn: number
  readonly status: string
  readonly advisories?: readonly string[]
}

export interface Dates {
  readonly issued: Date
  readonly nextUpdate: Date
}

export interface PlatformSpec extends Dates {
  readonly root: CertificateSpec
  readonly intermediate: CertificateSpec
  readonly leaf: CertificateSpec
  readonly tcbSigner: CertificateSpec
  /** What the PCK certificate says. `null`: no SGX extension. */
  readonly pck: {
    readonly fmspc: string
    readonly pceId: string
    readonly components: readonly number[]
    readonly pceSvn: number
    /** 16 bytes in hex; default: the components. */
    readonly cpuSvn?: string
  } | null
  /** Of a CRL, when they are not `issued` and `nextUpdate`. */
  readonly rootCrl?: Dates
  readonly pckCrl?: Dates
  /** Serial numbers. */
  readonly revokedByRoot: readonly number[]
  readonly revokedByIntermediate: readonly number[]
  /** The signed JSON values. */
  readonly tcbInfo: Readonly<Record<string, unknown>>
  readonly qeIdentity: Readonly<Record<string, unknown>>
  /** 384 bytes; REPORTDATA is filled in. */
  readonly qeReport: Uint8Array
  /** Its REPORTDATA instead of the one that vouches for the attestation key. */
  readonly qeReportData: Uint8Array | ((right: Uint8Array) => Uint8Array) | null
  readonly authData: Uint8Array
}

/** How a quote is put together; without: as Intel's quoting enclave does it. */
export interface QuoteForm {
  readonly version?: 3 | 4 | 5
  /** Default: 5, the chain as PEM. */
  readonly certification?: { readonly type: number; readonly data: Uint8Array }
  /** Changes the header before it is signed. */
  readonly header?: (view: DataView) => void
}

export interface Platform {
  /** PEM. */
  readonly rootCertificate: string
  readonly rootKey: Uint8Array
  /** One JSON object; see parseBundle. */
  readonly bundle: Readonly<Record<string, string>>
  readonly pckChain: string
  /** `body` is a report's first 384 bytes. */
  quote(body: Uint8Array, form?: QuoteForm): Promise<Uint8Array>
}

export async function newKey(): Promise<KeyPair> {
  return (await crypto.subtle.generateKey(P256, true, KEY_USES)) as KeyPair
}

async function point(key: Key): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.exportKey("raw", key))
}

async function sign(key: Key, bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.sign(ES256, key, Uint8Array.from(bytes)))
}

function nameOf(commonName: string): RelativeDistinguishedNames {
  const value = new asn1js.Utf8String({ value: commonName })
  return new RelativeDistinguishedNames({ typesAndValues: [new AttributeTypeAndValue({ type: "2.5.4.3", value })] })
}

function extension(extnID: string, critical: boolean, value: asn1js.BaseBlock): Extension {
  return new Extension({ extnID, critical, extnValue: value.toBER(false) })
}

function sgxExtension({ fmspc, pceId, components, pceSvn, cpuSvn }: NonNullable<PlatformSpec["pck"]>): Extension {
  const entry = (oid: string, value: asn1js.BaseBlock) =>
    new asn1js.Sequence({ value: [new asn1js.ObjectIdentifier({ value: oid }), value] })
  const octets = (hex: string) => new asn1js.OctetString({ valueHex: fromHex(hex)!.buffer })
  const svns = [...components, pceSvn].map((value, i) => entry(`${SGX}.2.${i + 1}`, new asn1js.Integer({ value })))
  const whole = entry(`${SGX}.2.18`, octets(cpuSvn ?? toHex(Uint8Array.from(components))))
  return extension(
    SGX,
    false,
    new asn1js.Sequence({
      value: [
        entry(`${SGX}.1`, octets("00".repeat(16))),
        entry(`${SGX}.2`, new asn1js.Sequence({ value: [...svns, whole] })),
        entry(`${SGX}.3`, octets(pceId)),
        entry(`${SGX}.4`, octets(fmspc)),
        entry(`${SGX}.5`, new asn1js.Enumerated({ value: 0 })),
      ],
    }),
  )
}

interface Issuer {
  readonly commonName: string
  readonly key: Key
}

async function issue(spec: CertificateSpec, publicKey: Key, issuer: Issuer, more: Extension[]): Promise<string> {
  const certificate = new Certificate()
  certificate.version = 2
  certificate.serialNumber = new asn1js.Integer({ value: spec.serial })
  certificate.issuer = nameOf(issuer.commonName)
  certificate.subject = nameOf(spec.commonName)
  certificate.notBefore = new Time({ value: spec.notBefore })
  certificate.notAfter = new Time({ value: spec.notAfter })
  certificate.extensions = [
    extension("2.5.29.19", true, new BasicConstraints({ cA: spec.ca }).toSchema()),
    extension("2.5.29.15", true, new asn1js.BitString({ valueHex: Uint8Array.of(spec.keyUsage).buffer })),
    ...more,
  ]
  await certificate.subjectPublicKeyInfo.importKey(publicKey)
  await certificate.sign(issuer.key, "SHA-256")
  return pem("CERTIFICATE", new Uint8Array(certificate.toSchema().toBER(false)))
}

export function pem(kind: string, der: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...der))
  return `-----BEGIN ${kind}-----\n${base64.replace(/.{1,64}/g, "$&\n")}-----END ${kind}-----\n`
}

async function revocationList(issuer: Issuer, serials: readonly number[], dates: Dates): Promise<string> {
  const crl = new CertificateRevocationList()
  crl.version = 1
  crl.issuer = nameOf(issuer.commonName)
  crl.thisUpdate = new Time({ value: dates.issued })
  crl.nextUpdate = new Time({ value: dates.nextUpdate })
  if (serials.length > 0) {
    crl.revokedCertificates = serials.map(
      (value) =>
        new RevokedCertificate({
          userCertificate: new asn1js.Integer({ value }),
          revocationDate: new Time({ value: dates.issued }),
        }),
    )
  }
  await crl.sign(issuer.key, "SHA-256")
  return toHex(new Uint8Array(crl.toSchema(true).toBER(false)))
}

/** As Intel writes them: seconds, no fraction. */
const iso = (date: Date): string => date.toISOString().replace(/\.\d{3}Z$/, "Z")

/** TCB info, version 3. */
export function tcbInfoFor(
  pck: NonNullable<PlatformSpec["pck"]>,
  issued: Date,
  nextUpdate: Date,
  levels: readonly TcbLevelSpec[],
) {
  return {
    id: "SGX",
    version: 3,
    issueDate: iso(issued),
    nextUpdate: iso(nextUpdate),
    fmspc: pck.fmspc.toUpperCase(),
    pceId: pck.pceId,
    tcbType: 0,
    tcbEvaluationDataNumber: 17,
    tcbLevels: levels.map(({ components, pceSvn, status, advisories }) => ({
      tcb: { sgxtcbcomponents: components.map((svn) => ({ svn })), pcesvn: pceSvn },
      tcbDate: iso(issued),
      tcbStatus: status,
      ...(advisories === undefined ? {} : { advisoryIDs: advisories }),
    })),
  }
}

const QE_MRSIGNER = "5e".repeat(32)

export function qeIdentityFor(issued: Date, nextUpdate: Date, status = "UpToDate") {
  return {
    id: "QE",
    version: 2,
    issueDate: iso(issued),
    nextUpdate: iso(nextUpdate),
    tcbEvaluationDataNumber: 17,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: "11000000000000000000000000000000",
    attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
    mrsigner: QE_MRSIGNER.toUpperCase(),
    isvprodid: 1,
    tcbLevels: [{ tcb: { isvsvn: 8 }, tcbDate: iso(issued), tcbStatus: status }],
  }
}

/** A quoting enclave's report that agrees with `qeIdentityFor`. */
export function qeReport(): Uint8Array {
  const body = new Uint8Array(REPORT_BODY_SIZE)
  const view = viewOf(body)
  view.setBigUint64(48, 0x15n, true)
  view.setBigUint64(56, 7n, true)
  body.set(fromHex(QE_MRSIGNER)!, 128)
  view.setUint16(256, 1, true)
  view.setUint16(258, 8, true)
  return body
}

/** A platform that is up to date from `issued` to `nextUpdate`. */
export function platformSpec(rootName: string, issued: Date, nextUpdate: Date): PlatformSpec {
  const dates = { notBefore: issued, notAfter: nextUpdate }
  const ca = { ...dates, ca: true, keyUsage: 0x06 }
  const end = { ...dates, ca: false, keyUsage: 0xc0 }
  const pck = { fmspc: "00606a000000", pceId: "0000", components: Array.from({ length: 16 }, () => 5), pceSvn: 13 }
  return {
    root: { ...ca, commonName: rootName, serial: 1 },
    intermediate: { ...ca, commonName: "Intel SGX PCK Processor CA", serial: 2 },
    leaf: { ...end, commonName: "Intel SGX PCK Certificate", serial: 3 },
    tcbSigner: { ...end, commonName: "Intel SGX TCB Signing", serial: 4 },
    issued,
    nextUpdate,
    pck,
    revokedByRoot: [],
    revokedByIntermediate: [],
    tcbInfo: tcbInfoFor(pck, issued, nextUpdate, [
      { components: pck.components, pceSvn: pck.pceSvn, status: "UpToDate" },
    ]),
    qeIdentity: qeIdentityFor(issued, nextUpdate),
    qeReport: qeReport(),
    qeReportData: null,
    authData: Uint8Array.from({ length: 32 }, (_, i) => i),
  }
}

export async function makePlatform(spec: PlatformSpec, rootPair: KeyPair): Promise<Platform> {
  const [intermediatePair, leafPair, signerPair, attestation] = await Promise.all([
    newKey(),
    newKey(),
    newKey(),
    newKey(),
  ])
  const root = { commonName: spec.root.commonName, key: rootPair.privateKey }
  const intermediate = { commonName: spec.intermediate.commonName, key: intermediatePair.privateKey }
  const rootCertificate = await issue(spec.root, rootPair.publicKey, root, [])
  const intermediateCertificate = await issue(spec.intermediate, intermediatePair.publicKey, root, [])
  const sgx = spec.pck === null ? [] : [sgxExtension(spec.pck)]
  const leafCertificate = await issue(spec.leaf, leafPair.publicKey, intermediate, sgx)
  const signerCertificate = await issue(spec.tcbSigner, signerPair.publicKey, root, [])
  const tcbInfo = JSON.stringify(spec.tcbInfo)
  const qeIdentity = JSON.stringify(spec.qeIdentity)
  const signed = async (text: string) => toHex(await sign(signerPair.privateKey, new TextEncoder().encode(text)))
  const pckChain = leafCertificate + intermediateCertificate + rootCertificate

  return {
    rootCertificate,
    rootKey: await point(rootPair.publicKey),
    pckChain,
    bundle: {
      pck_crl_issuer_chain: intermediateCertificate + rootCertificate,
      root_ca_crl: await revocationList(root, spec.revokedByRoot, spec.rootCrl ?? spec),
      pck_crl: await revocationList(intermediate, spec.revokedByIntermediate, spec.pckCrl ?? spec),
      tcb_info_issuer_chain: signerCertificate + rootCertificate,
      tcb_info: tcbInfo,
      tcb_info_signature: await signed(tcbInfo),
      qe_identity_issuer_chain: signerCertificate + rootCertificate,
      qe_identity: qeIdentity,
      qe_identity_signature: await signed(qeIdentity),
    },
    async quote(body, { version = 3, certification, header: changeHeader = () => {} } = {}) {
      const key = (await point(attestation.publicKey)).subarray(1)
      const right = concat(await sha256(concat(key, spec.authData)), new Uint8Array(32))
      const { qeReportData: given } = spec
      const report = Uint8Array.from(spec.qeReport)
      report.set(typeof given === "function" ? given(right) : (given ?? right), 320)
      // A PEM chain usually ends in a NUL: it was a C string.
      const chain = concat(new TextEncoder().encode(pckChain), Uint8Array.of(0))
      const qePart = concat(
        report,
        await sign(leafPair.privateKey, report),
        u16(spec.authData.length),
        spec.authData,
        tagged(certification?.type ?? 5, certification?.data ?? chain),
      )
      const header = new Uint8Array(48)
      const view = viewOf(header)
      view.setUint16(0, version, true)
      view.setUint16(2, 2, true)
      view.setUint16(8, 8, true)
      view.setUint16(10, spec.pck?.pceSvn ?? 0, true)
      header.set(fromHex(INTEL_QE_VENDOR)!, 12)
      changeHeader(view)
      const reportBody = body.subarray(0, REPORT_BODY_SIZE)
      const signedPart = concat(header, version === 5 ? tagged(1, reportBody) : reportBody)
      const signature = concat(
        await sign(attestation.privateKey, signedPart),
        key,
        version === 3 ? qePart : tagged(6, qePart),
      )
      return concat(signedPart, u32(signature.length), signature)
    },
  }
}

function u16(value: number): Uint8Array {
  const bytes = new Uint8Array(2)
  viewOf(bytes).setUint16(0, value, true)
  return bytes
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  viewOf(bytes).setUint32(0, value, true)
  return bytes
}

/** A type, a length, and what they are of. */
const tagged = (type: number, data: Uint8Array): Uint8Array => concat(u16(type), u32(data.length), data)

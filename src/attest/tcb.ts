/**
 * TCB info (versions 2 and 3) and QE identity (version 2) of Intel's PCS v3
 * and v4, and the status that follows from them.
 */
import * as v from "valibot"
import { jsonFault, parseJson } from "../json.ts"
import { fromHex, viewOf } from "./bytes.ts"
import type { PckExtension } from "./certificates.ts"
import type { ReportBody } from "./quote.ts"
import { Refusal } from "./refusal.ts"

export const TCB_STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const
export type TcbStatus = (typeof TCB_STATUSES)[number]

const svn = (limit: number) => v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(limit))
const hex = (bytes: number) => v.pipe(v.string(), v.regex(/^[0-9a-fA-F]*$/), v.length(2 * bytes), v.toLowerCase())
const date = v.pipe(
  v.string(),
  v.isoTimestamp(),
  v.transform((text) => new Date(text)),
)
const status = v.picklist(TCB_STATUSES)
const advisories = v.optional(v.array(v.string()), [])

const component = (n: number) => `sgxtcbcomp${String(n).padStart(2, "0")}svn`
const componentsV2 = v.pipe(
  v.looseObject({
    pcesvn: svn(65535),
    ...Object.fromEntries(Array.from({ length: 16 }, (_, i) => [component(i + 1), svn(255)])),
  }),
  v.transform((tcb) => ({
    pceSvn: tcb.pcesvn,
    components: Array.from({ length: 16 }, (_, i) => (tcb as Readonly<Record<string, number>>)[component(i + 1)]!),
  })),
)
const componentsV3 = v.pipe(
  v.looseObject({
    pcesvn: svn(65535),
    sgxtcbcomponents: v.pipe(v.array(v.looseObject({ svn: svn(255) })), v.length(16)),
  }),
  v.transform((tcb) => ({ pceSvn: tcb.pcesvn, components: tcb.sgxtcbcomponents.map((each) => each.svn) })),
)

const level = <T extends v.GenericSchema>(tcb: T) => v.looseObject({ tcb, tcbStatus: status, advisoryIDs: advisories })
const common = {
  issueDate: date,
  nextUpdate: date,
  tcbEvaluationDataNumber: v.pipe(v.number(), v.integer(), v.minValue(0)),
}
const platform = { ...common, fmspc: hex(6), pceId: hex(2), tcbType: v.literal(0) }
const tcbInfoSchema = v.variant("version", [
  v.looseObject({ ...platform, version: v.literal(2), tcbLevels: v.array(level(componentsV2)) }),
  v.looseObject({ ...platform, version: v.literal(3), id: v.literal("SGX"), tcbLevels: v.array(level(componentsV3)) }),
])
const qeIdentitySchema = v.looseObject({
  ...common,
  id: v.literal("QE"),
  version: v.literal(2),
  miscselect: hex(4),
  miscselectMask: hex(4),
  attributes: hex(16),
  attributesMask: hex(16),
  mrsigner: hex(32),
  isvprodid: svn(65535),
  tcbLevels: v.array(level(v.looseObject({ isvsvn: svn(65535) }))),
})

export interface Dated {
  readonly issueDate: Date
  readonly nextUpdate: Date
  readonly tcbEvaluationDataNumber: number
}
export type TcbInfo = v.InferOutput<typeof tcbInfoSchema>
export type QeIdentity = v.InferOutput<typeof qeIdentitySchema>

function parse<T extends v.GenericSchema>(what: string, schema: T, text: string): v.InferOutput<T> {
  let value: unknown
  try {
    value = parseJson(text)
  } catch (cause) {
    throw new Refusal(`the ${what} ${jsonFault(cause)}`, { cause })
  }
  const result = v.safeParse(schema, value)
  if (!result.success) {
    const [issue] = result.issues
    throw new Refusal(`the ${what} has a bad ${v.getDotPath(issue) ?? "structure"}: ${issue.message}`)
  }
  return result.output
}

/** `text` is the signed value itself, the object under "tcbInfo". */
export const parseTcbInfo = (text: string): TcbInfo => parse("TCB info", tcbInfoSchema, text)
/** `text` is the signed value itself, the object under "enclaveIdentity". */
export const parseQeIdentity = (text: string): QeIdentity => parse("QE identity", qeIdentitySchema, text)

export function checkDates(what: string, { issueDate, nextUpdate }: Dated, at: Date): void {
  if (at < issueDate) throw new Refusal(`the ${what} is issued only at ${issueDate.toISOString()}`)
  if (at > nextUpdate) throw new Refusal(`the ${what} expired ${nextUpdate.toISOString()}`)
}

export interface Status {
  readonly status: TcbStatus
  readonly advisories: readonly string[]
}

/** First level, high to low, that the certified platform reaches in all components and PCESVN. */
export function platformStatus(info: TcbInfo, pck: PckExtension): Status {
  const found = info.tcbLevels.find(
    ({ tcb }) => tcb.components.every((least, i) => pck.components[i]! >= least) && pck.pceSvn >= tcb.pceSvn,
  )
  if (found === undefined) throw new Refusal("the platform's TCB is below every level of the TCB info")
  return { status: found.tcbStatus, advisories: found.advisoryIDs }
}

/** The QE's report against its published identity; its status by ISVSVN. */
export function qeStatus(identity: QeIdentity, report: ReportBody): Status {
  const masked = (bytes: Uint8Array, mask: Uint8Array) => bytes.map((byte, i) => byte & mask[i]!).join()
  const mask = fromHex(identity.attributesMask)!
  // The identity gives the bytes as they lie in the report.
  const little = (text: string) => viewOf(fromHex(text)!).getUint32(0, true)
  if (((report.miscSelect ^ little(identity.miscselect)) & little(identity.miscselectMask)) !== 0) {
    throw new Refusal("the quoting enclave's MISCSELECT is not Intel's")
  }
  if (masked(report.attributeBytes, mask) !== masked(fromHex(identity.attributes)!, mask)) {
    throw new Refusal("the quoting enclave's ATTRIBUTES are not Intel's")
  }
  if (report.mrsigner !== identity.mrsigner)
    throw new Refusal(`the quoting enclave's MRSIGNER is ${report.mrsigner}, not Intel's`)
  if (report.isvProdId !== identity.isvprodid)
    throw new Refusal(`the quoting enclave's ISVPRODID is ${report.isvProdId}`)
  const found = identity.tcbLevels.find(({ tcb }) => report.isvSvn >= tcb.isvsvn)
  if (found === undefined) throw new Refusal(`the quoting enclave's ISVSVN ${report.isvSvn} is below every level`)
  return { status: found.tcbStatus, advisories: found.advisoryIDs }
}

/** Intel's convergence of platform and quoting enclave. */
export function mergeStatus(platformPart: Status, qePart: Status): Status {
  const advisories = [...new Set([...platformPart.advisories, ...qePart.advisories])].sort()
  const merged = (status: TcbStatus): Status => ({ status, advisories })
  const { status } = platformPart
  if (qePart.status === "UpToDate" || status === "Revoked") return merged(status)
  if (qePart.status === "Revoked") return merged("Revoked")
  if (qePart.status === "OutOfDate") {
    if (status === "UpToDate" || status === "SWHardeningNeeded") return merged("OutOfDate")
    if (status === "ConfigurationNeeded" || status === "ConfigurationAndSWHardeningNeeded") {
      return merged("OutOfDateConfigurationNeeded")
    }
    return merged(status)
  }
  // Not a status Intel gives a quoting enclave: nothing says what it would mean.
  throw new Refusal(`the quoting enclave's status is ${qePart.status}`)
}

/**
 * TCB info (versions 2 and 3) and QE identity (version 2) of Intel's PCS v3
 * and v4, and the status that follows from them, by the rules of Intel's
 * quote verification library (TcbLevelCheck.cpp, EnclaveReportVerifier.cpp,
 * TcbInfo.cpp, TcbLevel.cpp). Where it looks away, this refuses;
 * docs/attestation.md lists where.
 */
import * as v from "valibot"
import { jsonFault, parseJson } from "../../base/json.ts"
import { equal, fromHex, viewOf } from "./bytes.ts"
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
  // A comparison with an invalid time is false both ways, and would pass.
  v.check((time) => !Number.isNaN(time.getTime()), "invalid time"),
)
const status = v.picklist(TCB_STATUSES)
/** What Intel's library knows for a quoting enclave. */
const qeTcbStatus = v.picklist([
  "UpToDate",
  "ConfigurationNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
] as const)

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

const level = <T extends v.GenericSchema, S extends v.GenericSchema>(tcb: T, tcbStatus: S) =>
  v.looseObject({ tcb, tcbDate: date, tcbStatus, advisoryIDs: v.optional(v.array(v.string())) })

const common = {
  issueDate: date,
  nextUpdate: date,
  tcbEvaluationDataNumber: v.pipe(v.number(), v.integer(), v.minValue(0)),
}
const platform = { ...common, fmspc: hex(6), pceId: hex(2), tcbType: v.literal(0) }
const tcbInfoSchema = v.variant("version", [
  v.looseObject({ ...platform, version: v.literal(2), tcbLevels: v.array(level(componentsV2, status)) }),
  v.looseObject({
    ...platform,
    version: v.literal(3),
    id: v.literal("SGX"),
    tcbLevels: v.array(level(componentsV3, status)),
  }),
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
  tcbLevels: v.pipe(
    v.array(level(v.looseObject({ isvsvn: svn(65535) }), qeTcbStatus)),
    v.minLength(1, "no TCB levels"),
    // Intel's library takes the first that fits, in whatever order. In this one the first is the highest.
    v.check(
      (levels) => levels.every(({ tcb }, i) => i === 0 || levels[i - 1]!.tcb.isvsvn > tcb.isvsvn),
      "the TCB levels do not fall",
    ),
  ),
})

export interface Dated {
  readonly version: number
  readonly issueDate: Date
  readonly nextUpdate: Date
  readonly tcbEvaluationDataNumber: number
}
export type QeIdentity = v.InferOutput<typeof qeIdentitySchema>

interface Level {
  readonly tcbStatus: TcbStatus
  readonly advisoryIDs?: readonly string[] | undefined
}

interface PlatformTcb {
  readonly components: readonly number[]
  readonly pceSvn: number
}

export interface TcbInfo extends Dated {
  readonly version: 2 | 3
  readonly fmspc: string
  readonly pceId: string
  /** High to low, none twice. */
  readonly tcbLevels: readonly (Level & { readonly tcb: PlatformTcb })[]
}

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

const idSchema = v.object({ id: v.optional(v.string()) })

/** TDX has pieces of the same form; they lie in the same folders. */
function checkId(what: string, text: string, wanted: string): void {
  const { id = wanted } = parse(what, idSchema, text)
  if (id !== wanted) throw new Refusal(`the ${what} is for ${JSON.stringify(id)}, not "${wanted}"`)
}

/** Sorts high to low: the first component that differs decides, then PCESVN. */
function compareTcb(a: PlatformTcb, b: PlatformTcb): number {
  const at = a.components.findIndex((svn, i) => svn !== b.components[i])
  return at < 0 ? b.pceSvn - a.pceSvn : b.components[at]! - a.components[at]!
}

/** `text` is the signed value itself, the object under "tcbInfo". */
export function parseTcbInfo(text: string): TcbInfo {
  checkId("TCB info", text, "SGX")
  const info: TcbInfo = parse("TCB info", tcbInfoSchema, text)
  // As Intel's library does: sorted, and refused with none at all or one twice.
  const tcbLevels = [...info.tcbLevels].sort((a, b) => compareTcb(a.tcb, b.tcb))
  if (tcbLevels.length === 0) throw new Refusal("the TCB info has no TCB level")
  if (tcbLevels.some(({ tcb }, i) => i > 0 && compareTcb(tcbLevels[i - 1]!.tcb, tcb) === 0)) {
    throw new Refusal("the TCB info has a TCB level twice")
  }
  return { ...info, tcbLevels }
}

/** `text` is the signed value itself, the object under "enclaveIdentity". */
export function parseQeIdentity(text: string): QeIdentity {
  checkId("QE identity", text, "QE")
  return parse("QE identity", qeIdentitySchema, text)
}

export function checkDates(what: string, { issueDate, nextUpdate }: Dated, at: Date): void {
  if (at < issueDate) throw new Refusal(`the ${what} is issued only at ${issueDate.toISOString()}`)
  if (at > nextUpdate) throw new Refusal(`the ${what} expired ${nextUpdate.toISOString()}`)
}

export interface JudgedTcb {
  readonly status: TcbStatus
  readonly advisories: readonly string[]
  /** Not up to date, and nothing says why: TCB info of version 2 names no advisories. */
  readonly unexplained: boolean
}

function statusOf({ tcbStatus, advisoryIDs }: Level): JudgedTcb {
  return {
    status: tcbStatus,
    advisories: advisoryIDs ?? [],
    unexplained: tcbStatus !== "UpToDate" && advisoryIDs === undefined,
  }
}

/** First level, high to low, that the certified platform reaches in all components and PCESVN. */
export function platformStatus(info: TcbInfo, pck: PckExtension): JudgedTcb {
  const found = info.tcbLevels.find(
    ({ tcb }) => tcb.components.every((least, i) => pck.components[i]! >= least) && pck.pceSvn >= tcb.pceSvn,
  )
  if (found === undefined) throw new Refusal("the platform's TCB is below every level of the TCB info")
  return statusOf(found)
}

/** The QE's report against its published identity; its status by ISVSVN. */
export function qeStatus(identity: QeIdentity, report: ReportBody): JudgedTcb {
  // The identity gives the bytes as they lie in the report. Bits outside the mask that it sets match no report.
  const little = (text: string) => viewOf(fromHex(text)!).getUint32(0, true)
  if ((report.miscSelect & little(identity.miscselectMask)) >>> 0 !== little(identity.miscselect)) {
    throw new Refusal("the quoting enclave's MISCSELECT is not Intel's")
  }
  const mask = fromHex(identity.attributesMask)!
  const masked = report.attributeBytes.map((byte, i) => byte & mask[i]!)
  if (!equal(masked, fromHex(identity.attributes)!)) {
    throw new Refusal("the quoting enclave's ATTRIBUTES are not Intel's")
  }
  if (report.mrsigner !== identity.mrsigner)
    throw new Refusal(`the quoting enclave's MRSIGNER is ${report.mrsigner}, not Intel's`)
  if (report.isvProdId !== identity.isvprodid)
    throw new Refusal(`the quoting enclave's ISVPRODID is ${report.isvProdId}`)
  const found = identity.tcbLevels.find(({ tcb }) => report.isvSvn >= tcb.isvsvn)
  if (found === undefined) throw new Refusal(`the quoting enclave's ISVSVN ${report.isvSvn} is below every level`)
  return statusOf(found)
}

/** What an out-of-date quoting enclave makes of the platform's status. */
const WITH_OLD_QE: Readonly<Record<TcbStatus, TcbStatus>> = {
  UpToDate: "OutOfDate",
  SWHardeningNeeded: "OutOfDate",
  ConfigurationNeeded: "OutOfDateConfigurationNeeded",
  ConfigurationAndSWHardeningNeeded: "OutOfDateConfigurationNeeded",
  OutOfDate: "OutOfDate",
  OutOfDateConfigurationNeeded: "OutOfDateConfigurationNeeded",
  Revoked: "Revoked",
}

/** Intel's convergence of platform and quoting enclave, where every status between the best and the worst is the same. */
export function mergeStatus(platformPart: JudgedTcb, qePart: JudgedTcb): JudgedTcb {
  const { status } = platformPart
  const advisories = [...new Set([...platformPart.advisories, ...qePart.advisories])].sort()
  const merged = qePart.status === "UpToDate" ? status : qePart.status === "Revoked" ? "Revoked" : WITH_OLD_QE[status]
  return { status: merged, advisories, unexplained: platformPart.unexplained || qePart.unexplained }
}

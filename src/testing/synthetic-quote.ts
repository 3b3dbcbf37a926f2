/** A platform made here and an enclave on it, to be altered one thing at a time. For tests only. */
import { makePlatform, newKey, type PlatformSpec, platformSpec, type QuoteForm } from "../attest/gather/platform.ts"
import { fromHex, viewOf } from "../attest/judge/bytes.ts"
import { parseBundle } from "../attest/judge/collateral.ts"
import { parsePolicy } from "../attest/judge/policy.ts"
import { type ReportBinding, reportDataFor } from "../attest/judge/report-data.ts"
import { type Evidence, verifyQuote } from "../attest/judge/verify.ts"

export const issued = new Date("2026-11-01T00:00:00Z")
export const nextUpdate = new Date("2026-12-01T00:00:00Z")
export const at = new Date("2026-11-23T12:00:00Z")
export const rootPair = await newKey()
export const base = platformSpec("Test Root", issued, nextUpdate)
export const [mrenclave, mrsigner] = ["ab".repeat(32), "cd".repeat(32)]
export const binding: ReportBinding = { publicKey: new Uint8Array(32).fill(9), nonce: new Uint8Array(32).fill(7) }
export const policy = parsePolicy(JSON.stringify({ version: 1, mrsigner, isvProdId: 1, isvSvn: 3 }))

/** A production report of our enclave. */
export async function body(change: (bytes: Uint8Array, view: DataView) => void = () => {}): Promise<Uint8Array> {
  const bytes = new Uint8Array(384)
  const view = viewOf(bytes)
  view.setBigUint64(48, 5n, true)
  view.setBigUint64(56, 7n, true)
  bytes.set(fromHex(mrenclave)!, 64)
  bytes.set(fromHex(mrsigner)!, 128)
  view.setUint16(256, 1, true)
  view.setUint16(258, 3, true)
  bytes.set(await reportDataFor(binding), 320)
  change(bytes, view)
  return bytes
}

export interface Case {
  readonly spec?: Partial<PlatformSpec>
  readonly body?: (bytes: Uint8Array, view: DataView) => void
  readonly quote?: (bytes: Uint8Array) => Uint8Array
  readonly bundle?: Readonly<Record<string, string>>
  readonly evidence?: Partial<Evidence>
  readonly form?: QuoteForm
  /** False: the quote has no chain, the collateral has. */
  readonly carried?: boolean
}

export async function judge(change: Case = {}) {
  const platform = await makePlatform({ ...base, ...change.spec }, rootPair)
  const quote = await platform.quote(await body(change.body), change.form)
  const beside = change.carried === false ? { pck_certificate_chain: platform.pckChain } : {}
  const collateral = parseBundle(JSON.stringify({ ...platform.bundle, ...beside, ...change.bundle }))
  return verifyQuote({
    quote: change.quote?.(quote) ?? quote,
    collateral,
    policy,
    at,
    rootKey: platform.rootKey,
    binding,
    ...change.evidence,
  })
}

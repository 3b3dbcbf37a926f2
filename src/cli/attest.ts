/** `tresor attest verify|show|policy init`, without the command-line parser: options in, one result out. */
import { createHash, randomBytes } from "node:crypto"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { TARGET_INFO_SIZE } from "../abi/sgx.ts"
import { quoteFrom } from "../attest/gather/aesmd.ts"
import { readCollateral } from "../attest/gather/collateral-files.ts"
import { softwareQuote } from "../attest/gather/software-quote.ts"
import { fromHex } from "../attest/judge/bytes.ts"
import { parseRootKey } from "../attest/judge/certificates.ts"
import { type Identity, parsePolicy } from "../attest/judge/policy.ts"
import { parseQuote } from "../attest/judge/quote.ts"
import { Refusal } from "../attest/judge/refusal.ts"
import type { ReportBinding } from "../attest/judge/report-data.ts"
import { INTEL_ROOT_KEY, verifyQuote } from "../attest/judge/verify.ts"
import { knownEnclavesPath, LOCAL, readKnown, recognise } from "../attest/known-enclaves.ts"
import type { Attester } from "../attest/surroundings.ts"
import { rememberNumber, seenNumbers } from "../attest/tcb-numbers.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { installed } from "../base/installation.ts"
import { parseSigstruct } from "../enclave/image/sigstruct.ts"
import { stateDir } from "../enclave/machine-secret.ts"
import { type ReleaseSigners, releaseSigners } from "../enclave/release-signers.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"
import type { CommandResult } from "./result.ts"

export function read(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const fact = code === "ENOENT" ? "no such file" : message
    throw new TresorError("ATTEST_UNREADABLE", Exit.wrongDevice, `Cannot read ${path}: ${fact}`, { cause })
  }
}

const readText = (path: string): string => new TextDecoder().decode(read(path))

export function badOption(fact: string): TresorError {
  return new TresorError("ATTEST_BAD_OPTIONS", Exit.badArguments, fact)
}

/** Seconds since 1970, or ISO 8601 with a zone, or a date (its first moment in UTC). */
export function parseTime(text: string): Date {
  const date = /^\d+$/.test(text)
    ? new Date(Number(text) * 1000)
    : /^\d{4}-\d\d-\d\d(T[0-9:.]+(Z|[+-]\d\d:\d\d))?$/.test(text)
      ? new Date(text)
      : new Date(Number.NaN)
  if (Number.isNaN(date.getTime())) {
    throw badOption(`Cannot use --at ${text}: not a time; use a form like 2026-11-23T12:00:00Z, or seconds since 1970`)
  }
  return date
}

export interface QuoteVerification {
  readonly quote: string
  readonly collateral: string
  readonly policy?: string | undefined
  readonly at?: string | undefined
  readonly root?: string | undefined
  /** Hex. Both or none: what REPORTDATA has to bind. */
  readonly publicKey?: string | undefined
  readonly nonce?: string | undefined
}

function bindingOf({ publicKey, nonce }: QuoteVerification): ReportBinding | null {
  if (publicKey === undefined && nonce === undefined) return null
  const key = fromHex(publicKey ?? "")
  const given = fromHex(nonce ?? "")
  if (key?.length !== 32 || given?.length !== 32) {
    throw badOption("Cannot judge REPORTDATA: --public-key and --nonce are 64 hex digits each, and belong together")
  }
  return { publicKey: key, nonce: given }
}

function rootOf(path: string): Uint8Array {
  try {
    return parseRootKey(read(path))
  } catch (error) {
    if (error instanceof Refusal) throw badOption(`Cannot use the root ${path}: ${error.message}`)
    throw error
  }
}

/** The outside world, for tests. */
export interface Ground {
  readonly now: () => Date
  readonly intelKey: Uint8Array
  readonly signers: () => ReleaseSigners
}
export const GROUND: Ground = { now: () => new Date(), intelKey: INTEL_ROOT_KEY, signers: releaseSigners }

/** `tresor attest verify`: exit 0 when the quote is accepted, else 1. What cannot be read is a TresorError. */
export async function verify(options: QuoteVerification, { now, intelKey }: Ground = GROUND): Promise<CommandResult> {
  // What was seen of Intel counts for what is judged now and by Intel's key.
  const counts = options.at === undefined && options.root === undefined
  const verdict = await verifyQuote({
    quote: read(options.quote),
    collateral: readCollateral(options.collateral),
    policy: options.policy === undefined ? null : parsePolicy(readText(options.policy)),
    at: options.at === undefined ? now() : parseTime(options.at),
    rootKey: options.root === undefined ? intelKey : rootOf(options.root),
    binding: bindingOf(options),
    ...(counts ? { seenNumber: seenNumbers() } : {}),
  })
  const warning = counts ? rememberNumber(verdict) : null
  const accepted = verdict.verdict === "accepted"
  const { mrenclave, mrsigner, tcbStatus, advisories, debug } = verdict
  return {
    exitCode: accepted ? 0 : Exit.badArguments,
    verdict: accepted ? "good" : "bad",
    json: { ...verdict },
    lines: [
      accepted ? `accepted: ${verdict.reason}` : `refused by the ${verdict.decidedBy} check: ${verdict.reason}`,
      ...(mrenclave === null ? [] : [`MRENCLAVE ${mrenclave}${debug ? "  (DEBUG)" : ""}`, `MRSIGNER  ${mrsigner}`]),
      ...(tcbStatus === null ? [] : [`TCB       ${[tcbStatus, ...advisories].join(" ")}`]),
      ...(warning === null ? [] : [`WARNING: ${warning}`]),
    ],
  }
}

/** What `show` knows of an enclave's standing on this machine. */
type Standing =
  | "own image"
  | "known"
  | "upgrade of a known one"
  | "unsigned upgrade of a known one"
  | "changed"
  | "unknown"

export function ownIdentity(): Identity {
  return parseSigstruct(readFileSync(installed("enclave/build/tresor.sigstruct")), () => createHash("sha256"))
}

function standing(identity: EnclaveIdentity): Standing {
  const own = ownIdentity()
  if (own.mrenclave === identity.mrenclave) return "own image"
  const ground = { signers: releaseSigners(), own, predecessor: false }
  const { kind } = recognise(readKnown(knownEnclavesPath()), LOCAL, identity, ground)
  return kind === "upgraded" ? "upgrade of a known one" : kind === "follows" ? "unsigned upgrade of a known one" : kind
}

interface Made {
  readonly quote: Uint8Array
  /** Software backend only. */
  readonly collateral: string | null
  readonly root: string | null
}

async function makeQuote(enclave: Attester, nonce: Uint8Array): Promise<Made> {
  if (enclave.identity.backend === "software") {
    return softwareQuote(await enclave.report(new Uint8Array(TARGET_INFO_SIZE), nonce), stateDir(), new Date())
  }
  const quote = await quoteFrom((targetInfo) => enclave.report(targetInfo, nonce))
  return { quote, collateral: null, root: null }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/**
 * `tresor attest show`: what an enclave says of itself, and a quote of it.
 * `save` is a folder to be made: quote.dat, and for the software backend the
 * collateral and root that `verify` takes.
 */
export async function show(enclave: Attester, save: string | undefined): Promise<CommandResult> {
  const { identity } = enclave
  const nonce = randomBytes(32)
  let made: Made | null = null
  let why: string | null = null
  try {
    made = await makeQuote(enclave, nonce)
  } catch (error) {
    // Local use needs no quote; whoever wants to save one does.
    if (save !== undefined || !(error instanceof TresorError)) throw error
    why = error.message
  }
  const saved = save === undefined || made === null ? null : saveQuote(save, made)
  const { backend, mrenclave, mrsigner, isvProdId, isvSvn, cpuSvn, debug } = identity
  const worth =
    made === null
      ? `none: ${why}`
      : backend === "software"
        ? "by this machine's test root; it proves nothing, and only a policy for tests accepts it"
        : `${made.quote.length} bytes, for \`tresor attest verify\``
  const publicKey = hex(identity.publicKey)
  const own = standing(identity)
  return {
    exitCode: 0,
    json: {
      backend,
      mrenclave,
      mrsigner,
      isvProdId,
      isvSvn,
      cpuSvn,
      debug,
      xfrm: identity.xfrm.toString(),
      publicKey,
      nonce: nonce.toString("hex"),
      standing: own,
      quote: made === null ? null : Buffer.from(made.quote).toString("base64"),
      quoteError: why,
      saved,
    },
    lines: [
      `Backend    ${backend}${debug ? " (DEBUG)" : ""}`,
      `MRENCLAVE  ${mrenclave}  (${own})`,
      `MRSIGNER   ${mrsigner}`,
      `Product    ${isvProdId}, version ${isvSvn}`,
      `CPUSVN     ${cpuSvn}`,
      `Key        ${publicKey}`,
      `Nonce      ${hex(nonce)}`,
      `Quote      ${worth}`,
      ...(saved ?? []).map((path) => `Saved      ${path}`),
    ],
  }
}

function saveQuote(folder: string, made: Made): string[] {
  const files: readonly (readonly [string, Uint8Array | string | null])[] = [
    ["quote.dat", made.quote],
    ["collateral.json", made.collateral],
    ["root.pem", made.root],
  ]
  mkdirSync(folder, { recursive: true })
  return files.flatMap(([name, content]) => {
    if (content === null) return []
    writeFileSync(join(folder, name), content)
    return [join(folder, name)]
  })
}

/** `tresor attest show --quote F`: what a quote says, whether true or not. */
export function showQuote(path: string): CommandResult {
  try {
    const { report, qeSvn, pceSvn, certificationType } = parseQuote(read(path))
    const { mrenclave, mrsigner, isvProdId, isvSvn, cpuSvn, debug, reportData } = report
    return {
      exitCode: 0,
      json: {
        mrenclave,
        mrsigner,
        isvProdId,
        isvSvn,
        cpuSvn,
        debug,
        xfrm: report.xfrm.toString(),
        reportData: hex(reportData),
        qeSvn,
        pceSvn,
        certificationType,
      },
      lines: [
        `MRENCLAVE  ${mrenclave}${debug ? "  (DEBUG)" : ""}`,
        `MRSIGNER   ${mrsigner}`,
        `Product    ${isvProdId}, version ${isvSvn}`,
        `CPUSVN     ${cpuSvn}`,
        `Data       ${hex(reportData)}`,
        "Not verified: `tresor attest verify` does that.",
      ],
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new TresorError("ATTEST_BAD_QUOTE", Exit.badArguments, `Cannot show ${path}: ${error.message}`)
  }
}

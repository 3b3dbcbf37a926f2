/**
 * TCB info and QE identity: which of those at hand is the one to judge by, and
 * whether Intel signed it. What is newest is what Intel's number for a recovery
 * of the TCB says, then the date: of two that are valid, the older may know
 * less of what has been broken.
 */
import { equal, verifyP256 } from "./bytes.ts"
import { type Crl, checkEndEntity, checkIssued, checkValidity, type PckExtension, type X509 } from "./certificates.ts"
import { checkNotRevoked, currentCrl, firstThatHolds } from "./chain.ts"
import { type Collateral, missing, type Signed } from "./collateral.ts"
import { Refusal } from "./refusal.ts"
import { checkDates, type Dated, parseQeIdentity, parseTcbInfo, type QeIdentity, type TcbInfo } from "./tcb.ts"

const TCB_SIGNER_NAME = "Intel SGX TCB Signing"

export interface Signer {
  readonly collateral: Collateral
  readonly root: X509
  readonly rootCrl: Crl
  readonly at: Date
}

/** JSON as a formatter writes it says what was signed, and is other bytes. */
function isReformatted(text: string): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) !== text
  } catch {
    return false
  }
}

/** The exact text, by a valid unrevoked TCB signing certificate of the same root. */
async function checkSignedByIntel(
  what: string,
  signed: Signed,
  { collateral, root, rootCrl, at }: Signer,
): Promise<void> {
  const signers = collateral.certificates.filter(({ commonName }) => commonName === TCB_SIGNER_NAME)
  if (signers.length === 0) throw new Refusal(missing(`certificate "${TCB_SIGNER_NAME}"`, collateral))
  const bytes = new TextEncoder().encode(signed.text)
  const signing: X509[] = []
  for (const signer of signers) {
    if (await verifyP256(signer.publicKey, bytes, signed.signature)) signing.push(signer)
  }
  if (signing.length === 0) {
    const fact = `the ${what} is not signed by "${TCB_SIGNER_NAME}"`
    throw new Refusal(
      isReformatted(signed.text)
        ? `${fact}: it is re-formatted JSON, which cannot be verified; use the bytes as served`
        : fact,
    )
  }
  await firstThatHolds(signing, async (signer) => {
    checkEndEntity(signer)
    await checkIssued(signer, root)
    checkValidity(signer, at)
    checkNotRevoked(signer, rootCrl)
  })
}

interface Candidate<T> {
  readonly signed: Signed
  readonly value: T
}

/** Those that parse. Throws the first one's Refusal when none does. */
function parseAll<T>(signed: readonly Signed[], parse: (text: string) => T): Candidate<T>[] {
  let refusal: Refusal | null = null
  const candidates = signed.flatMap((each): Candidate<T>[] => {
    try {
      return [{ signed: each, value: parse(each.text) }]
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      refusal ??= error
      return []
    }
  })
  if (candidates.length === 0 && refusal !== null) throw refusal
  return candidates
}

/** Valid then, of the latest recovery, of the latest date; of one date the version that says more. */
function byAge(at: Date): (a: Candidate<Dated>, b: Candidate<Dated>) => number {
  const isValid = ({ issueDate, nextUpdate }: Dated) => at >= issueDate && at <= nextUpdate
  return ({ value: a }, { value: b }) =>
    Number(isValid(b)) - Number(isValid(a)) ||
    b.tcbEvaluationDataNumber - a.tcbEvaluationDataNumber ||
    b.issueDate.getTime() - a.issueDate.getTime() ||
    b.version - a.version
}

async function newestSigned<T extends Dated>(
  what: string,
  candidates: readonly Candidate<T>[],
  signer: Signer,
): Promise<T> {
  return firstThatHolds(candidates.toSorted(byAge(signer.at)), async ({ signed, value }) => {
    await checkSignedByIntel(what, signed, signer)
    checkDates(what, value, signer.at)
    return value
  })
}

/** Of the platform when there is one, else another's, which checkSamePlatform refuses. */
export async function signedTcbInfo(pck: Pick<PckExtension, "fmspc" | "pceId">, signer: Signer): Promise<TcbInfo> {
  const candidates = parseAll(signer.collateral.tcbInfos, parseTcbInfo)
  const fitting = candidates.filter(({ value }) => value.fmspc === pck.fmspc && value.pceId === pck.pceId)
  return newestSigned("TCB info", fitting.length > 0 ? fitting : candidates, signer)
}

export function signedQeIdentity(signer: Signer): Promise<QeIdentity> {
  return newestSigned("QE identity", parseAll(signer.collateral.qeIdentities, parseQeIdentity), signer)
}

/**
 * The TCB evaluation data number that this collateral can be held to: the
 * lowest of its platforms' and its QE identity's, of the newest for each.
 * Throws Refusal when it is not genuine or not valid then.
 */
export async function evaluationNumber(collateral: Collateral, rootKey: Uint8Array, at: Date): Promise<number> {
  const roots = collateral.certificates.filter(
    ({ isSelfIssued, publicKey }) => isSelfIssued && equal(publicKey, rootKey),
  )
  if (roots.length === 0) throw new Refusal(missing("root certificate with the pinned key", collateral))
  return firstThatHolds(roots, async (root) => {
    const signer: Signer = { collateral, root, rootCrl: await currentCrl(collateral, root, at), at }
    const platforms = parseAll(collateral.tcbInfos, parseTcbInfo).map(({ value }) => value)
    const distinct = platforms.filter(
      (info, i) => i === platforms.findIndex(({ fmspc, pceId }) => fmspc === info.fmspc && pceId === info.pceId),
    )
    const numbers: number[] = []
    let refusal: Refusal | null = null
    for (const platform of distinct) {
      try {
        numbers.push((await signedTcbInfo(platform, signer)).tcbEvaluationDataNumber)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        refusal ??= error
      }
    }
    if (numbers.length === 0 && refusal !== null) throw refusal
    numbers.push((await signedQeIdentity(signer)).tcbEvaluationDataNumber)
    return Math.min(...numbers)
  })
}

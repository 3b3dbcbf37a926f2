/** The certificates and CRLs that belong to a quote, out of those at hand. */
import { equal, verifyP256 } from "./bytes.ts"
import {
  type Crl,
  checkCrl,
  checkEndEntity,
  checkIssued,
  parseCertificate,
  pemBlocks,
  type X509,
} from "./certificates.ts"
import { type Collateral, missing } from "./collateral.ts"
import { certificationName } from "./file-kind.ts"
import type { Quote } from "./quote.ts"
import { Refusal } from "./refusal.ts"

const LEAF_NAME = "Intel SGX PCK Certificate"
const CA_NAMES = ["Intel SGX PCK Processor CA", "Intel SGX PCK Platform CA"]

export interface Chain {
  readonly leaf: X509
  readonly intermediate: X509
  readonly root: X509
}

/** What the first of `candidates` gives that holds; else the first one's Refusal. There must be one. */
export async function firstThatHolds<T, R>(candidates: readonly T[], check: (candidate: T) => Promise<R>): Promise<R> {
  let refusal: Refusal | null = null
  for (const candidate of candidates) {
    try {
      return await check(candidate)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      refusal ??= error
    }
  }
  throw refusal ?? new RangeError("nothing to choose from")
}

function certificatesIn({ certificationType: type, certificationData }: Quote): readonly X509[] {
  if (type < 1 || type > 5) {
    throw new Refusal(`the quote's certification data is of ${certificationName(type)}, which names no PCK certificate`)
  }
  if (type !== 5) return []
  const found = pemBlocks(new TextDecoder().decode(certificationData), "CERTIFICATE").map(parseCertificate)
  if (found.length === 0) throw new Refusal("the quote's certification data holds no certificate")
  return found
}

/** Those valid then first, the longest of them in front: Intel has roots of one name and key that end years apart. */
function byValidity(at: Date): (a: X509, b: X509) => number {
  const isValid = ({ notBefore, notAfter }: X509) => at >= notBefore && at <= notAfter
  return (a, b) => Number(isValid(b)) - Number(isValid(a)) || b.notAfter.getTime() - a.notAfter.getTime()
}

/** The PCK certificate that vouches for the quoting enclave's report; a pool may serve many platforms. */
async function leafOf(quote: Quote, pool: readonly X509[]): Promise<X509 | undefined> {
  const leaves = pool.filter(({ commonName }) => commonName === LEAF_NAME)
  for (const leaf of leaves) {
    if (await verifyP256(leaf.publicKey, quote.qeReportBytes, quote.qeReportSignature)) return leaf
  }
  return leaves[0]
}

/** The leaf and its CA of the quote where it has them, else of the collateral; the root from either. */
export async function pckChain(quote: Quote, collateral: Collateral, rootKey: Uint8Array, at: Date): Promise<Chain> {
  const own = certificatesIn(quote)
  const carried = own.length > 0
  const leaf = await leafOf(quote, carried ? own : collateral.certificates)
  if (leaf === undefined) {
    const what = `certificate "${LEAF_NAME}"`
    const type = certificationName(quote.certificationType)
    throw new Refusal(
      carried
        ? `the quote has no ${what}`
        : `${missing(what, collateral)}, and the quote's certification data is of ${type}; add it to the collateral`,
    )
  }
  if (!CA_NAMES.includes(leaf.issuerName)) throw new Refusal(`the PCK certificate is issued by "${leaf.issuerName}"`)
  const issues = ({ subject }: X509): boolean => equal(leaf.issuer, subject)
  const issuers = own.some(issues) ? own.filter(issues) : collateral.certificates.filter(issues)
  if (issuers.length === 0) throw new Refusal(missing(`certificate "${leaf.issuerName}"`, collateral))
  checkEndEntity(leaf)
  const intermediate = await firstThatHolds(issuers.toSorted(byValidity(at)), async (issuer) => {
    await checkIssued(leaf, issuer)
    return issuer
  })
  const roots = [...own, ...collateral.certificates].filter(
    ({ isSelfIssued, subject }) => isSelfIssued && equal(intermediate.issuer, subject),
  )
  if (roots.length === 0) throw new Refusal(missing(`root certificate "${intermediate.issuerName}"`, collateral))
  // Another root of that name is judged by the next check.
  const pinned = roots.filter(({ publicKey }) => equal(publicKey, rootKey))
  const root = (pinned.length > 0 ? pinned : roots).toSorted(byValidity(at))[0]!
  await checkIssued(intermediate, root)
  await checkIssued(root, root)
  return { leaf, intermediate, root }
}

/** The newest CRL of that issuer that there was at that time, checked. */
export async function currentCrl(collateral: Collateral, issuer: X509, at: Date): Promise<Crl> {
  const crls = collateral.crls
    .filter((crl) => equal(crl.issuer, issuer.subject))
    .sort(
      (a, b) =>
        Number(b.thisUpdate <= at) - Number(a.thisUpdate <= at) || b.thisUpdate.getTime() - a.thisUpdate.getTime(),
    )
  if (crls.length === 0) throw new Refusal(missing(`CRL of "${issuer.commonName}"`, collateral))
  return firstThatHolds(crls, async (crl) => {
    await checkCrl(crl, issuer, at)
    return crl
  })
}

export function checkNotRevoked(certificate: X509, crl: Crl): void {
  if (crl.revoked.has(certificate.serial)) {
    throw new Refusal(`the certificate "${certificate.commonName}" (serial ${certificate.serial}) is revoked`)
  }
}

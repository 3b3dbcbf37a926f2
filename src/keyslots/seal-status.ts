/**
 * Why no keyslot opened: a sealed salt that did not, with what differs by name,
 * or a keyslot that was not tried. The blob itself says who sealed it
 * (docs/format.md, "The sealed salt"); the enclave decides, this only explains. Pure.
 */

import { TresorError } from "../base/errors.ts"
import { EnclaveError, type StatusName } from "../enclave/error.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"
import { tooCostly } from "../luks2/kdf-cost.ts"
import type { Header, Keyslot } from "../luks2/types.ts"

/** struct tresor_sealed_salt: offsets of what is told. */
const MRENCLAVE = 560
const MRSIGNER = 592
const ISV_PROD_ID = 632
const ISV_SVN = 634
const KEYSLOT = 636
const UUID = [640, 680] as const

interface Sealer {
  readonly mrenclave: string
  readonly mrsigner: string
  readonly isvProdId: number
  readonly isvSvn: number
}

function sealer(sealed: Uint8Array): Sealer {
  const view = new DataView(sealed.buffer, sealed.byteOffset, sealed.byteLength)
  const hex = (offset: number) =>
    Array.from(sealed.subarray(offset, offset + 32), (byte) => byte.toString(16).padStart(2, "0")).join("")
  return {
    mrenclave: hex(MRENCLAVE),
    mrsigner: hex(MRSIGNER),
    isvProdId: view.getUint16(ISV_PROD_ID, true),
    isvSvn: view.getUint16(ISV_SVN, true),
  }
}

/** Enough of a hash to tell two apart. */
const short = (hash: string) => `${hash.slice(0, 16)}…`

/** UUID of the volume a salt was sealed for. */
export function sealedUuid(sealed: Uint8Array): string {
  const bytes = sealed.subarray(...UUID)
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/** Why a seal that is whole does not belong here, with the way out; `null`: it does. */
function misplaced({ slot, sealed }: Keyslot & { sealed: Uint8Array }, uuid: string, path: string): string | null {
  const was = sealedUuid(sealed)
  if (was !== uuid) {
    return (
      `the volume's UUID was ${was} and is ${uuid} now: another program changed it; ` +
      `\`tresor uuid ${path} ${was}\` sets it back`
    )
  }
  const number = new DataView(sealed.buffer, sealed.byteOffset, sealed.byteLength).getUint32(KEYSLOT, true)
  return number === slot ? null : `the salt was sealed for keyslot ${number}, and its token names keyslot ${slot}`
}

type SealStatus = Extract<StatusName, `seal_${string}`>

const isSealStatus = (status: StatusName): status is SealStatus => status.startsWith("seal_")

function difference(
  status: SealStatus,
  { mrenclave, mrsigner, isvProdId, isvSvn }: Sealer,
  ours: EnclaveIdentity,
): string {
  switch (status) {
    case "seal_damaged":
      return "the sealed salt is damaged, or belongs to another volume, keyslot or KDF"
    case "seal_signer":
      return mrsigner === ours.mrsigner
        ? `another product of this signer sealed it (ISVPRODID ${isvProdId}, this enclave has ${ours.isvProdId})`
        : `another signer's enclave sealed it (MRSIGNER ${short(mrsigner)}, this enclave has ${short(ours.mrsigner)})`
    case "seal_enclave":
      return `it opens for enclave ${short(mrenclave)} only (policy mrenclave; MRENCLAVE here is ${short(ours.mrenclave)})`
    case "seal_version":
      return isvSvn > ours.isvSvn
        ? `a newer enclave sealed it (ISVSVN ${isvSvn}, this enclave has ${ours.isvSvn}): upgrade Tresor`
        : "it was sealed under newer CPU microcode than is loaded: update the microcode"
    case "seal_backend":
      return `it was sealed under ${ours.backend === "sgx" ? "backend software" : "backend sgx"}, this is backend ${ours.backend}`
    case "seal_machine":
      return "it was sealed on another machine, or this machine's Tresor state was lost"
  }
}

/** "keyslot 0", "keyslots 0, 2": what a person looks up in `tresor key list`. */
export function nameSlots(slots: readonly number[]): string {
  return `keyslot${slots.length === 1 ? "" : "s"} ${slots.join(", ")}`
}

/** Keyslots that are not tried unless they are named, each with the reason. */
export function untried({ keyslots, digest }: Header): string | null {
  const costly = keyslots.flatMap((slot) => {
    const fact = slot.tried ? null : tooCostly(slot, digest)
    return fact === null ? [] : [{ slot: slot.slot, fact }]
  })
  const [first] = costly
  if (first === undefined) return null
  const slots = nameSlots(costly.map(({ slot }) => slot))
  return `${slots} not tried: ${first.fact}, which would take hours; use --key-slot ${first.slot} to try it`
}

/**
 * An enclave's refusal to unseal, or a wrong passphrase while a keyslot could
 * not be tried, as one line with the way out; the same code and exit code.
 * Anything else is returned as it is.
 */
export function explainUnlock(error: unknown, header: Header, identity: EnclaveIdentity, path: string): unknown {
  if (!(error instanceof EnclaveError)) return error
  const status = error.status === "passphrase" ? error.seal : error.status
  if (status === null && error.status === "passphrase") {
    const skipped = untried(header)
    return skipped === null
      ? error
      : new TresorError(error.code, error.exitCode, `No other keyslot opens with this passphrase, and ${skipped}`, {
          cause: error,
        })
  }
  const sealed = header.keyslots.filter((slot): slot is Keyslot & { sealed: Uint8Array } => slot.sealed !== null)
  // MACs are bound to the UUID as seals are: the recovery key finds a header that is not as authenticated.
  if (status === "header" || status === "seal_damaged") {
    const why = sealed.map((slot) => misplaced(slot, header.uuid, path)).find((fact) => fact !== null)
    if (why !== undefined) {
      const refused =
        status === "header" ? "Refused: the header is not as it was authenticated" : "Cannot unseal the salt"
      return new TresorError(error.code, error.exitCode, `${refused}: ${why}`, { cause: error })
    }
  }
  if (status === null || !isSealStatus(status)) return error
  const suspects = sealed.filter(({ tried }) => tried)
  const first = suspects[0]
  if (first === undefined) return error
  const what = nameSlots(suspects.map(({ slot }) => slot))
  const fact = difference(status, sealer(first.sealed), identity)
  const code = `ENCLAVE_${status.toUpperCase()}`
  const said =
    error.status === "passphrase"
      ? `No other keyslot opens with this passphrase, and ${what} cannot be unsealed`
      : `Cannot unseal ${what}`
  return new TresorError(
    code,
    error.exitCode,
    `${said}: ${fact}; the recovery key opens the volume: tresor recover ${path}`,
    {
      cause: error,
    },
  )
}

/**
 * Why no keyslot opened: a sealed salt that did not, with what differs by name,
 * or a keyslot that was not tried. The blob itself says who sealed it
 * (docs/format.md, "The sealed salt"); the enclave decides, this only explains.
 */

import { hostname } from "node:os"
import { TresorError } from "../base/errors.ts"
import { visibleLine } from "../base/visible.ts"
import { EnclaveError, enclaveCode } from "../enclave/error.ts"
import { keptByOwner, keptFor, keptPlaces } from "../enclave/kept-images.ts"
import { otherSecret } from "../enclave/machine-secret.ts"
import { isSealStatus, type SealStatus, sealDifference } from "../enclave/seal-words.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"
import { tooCostly } from "../luks2/kdf-cost.ts"
import type { Made } from "../luks2/made.ts"
import { type Sealer, sealerOf } from "../luks2/tresor-token.ts"
import type { Header, Keyslot } from "../luks2/types.ts"

/** Why a seal that is whole does not belong here, with the way out; `null`: it does. */
function misplaced({ slot, sealed }: Keyslot & { sealed: Uint8Array }, uuid: string, path: string): string | null {
  const { uuid: was, slot: number } = sealerOf(sealed)
  if (was !== uuid) {
    return (
      `the volume's UUID was ${was} and is ${uuid} now: another program changed it; ` +
      `\`tresor uuid ${path} ${was}\` sets it back`
    )
  }
  return number === slot ? null : `the salt was sealed for keyslot ${number}, and its token names keyslot ${slot}`
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

/** The way out where the enclave that sealed it is kept: its user lets it hand the keyslot over. */
function bySuccession(status: SealStatus, sealer: Sealer): string | null {
  if (status !== "seal_enclave" && status !== "seal_signer") return null
  return keptFor(keptPlaces(), sealer) === null
    ? keptByOwner()
    : "`tresor open` asks whether the enclave of this version may take it over"
}

/** On which machine, or with whose machine secret, a keyslot was sealed, as its token says. */
function otherMachine(
  made: Made | null,
  { backend }: EnclaveIdentity,
): { readonly fact: string; readonly way: string | null } | null {
  if (made === null) return null
  if (made.host !== hostname())
    return { fact: `it was sealed on another machine, ${visibleLine(made.host)}, on ${made.on}`, way: null }
  return backend === "software" && made.secret !== null ? otherSecret(made.secret) : null
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
  const sealer = sealerOf(first.sealed)
  const elsewhere = status === "seal_machine" ? otherMachine(first.made ?? null, identity) : null
  const fact = elsewhere?.fact ?? sealDifference(status, sealer, identity)
  const way = elsewhere?.way ?? bySuccession(status, sealer)
  const said =
    error.status === "passphrase"
      ? `No other keyslot opens with this passphrase, and ${what} cannot be unsealed`
      : `Cannot unseal ${what}`
  return new TresorError(
    enclaveCode(status),
    error.exitCode,
    `${said}: ${fact}; ${way === null ? "" : `${way}; else `}the recovery key opens the volume: tresor recover ${path}`,
    {
      cause: error,
    },
  )
}

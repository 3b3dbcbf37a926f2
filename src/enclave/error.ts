/** Statuses of the enclave as errors: ENCLAVE_<STATUS>, one line each. */

import { Status } from "../abi/enclave.ts"
import type { ErrorCode } from "../base/error-codes.ts"
import { Exit, type ExitCode, TresorError } from "../base/errors.ts"
import { type SealStatus, sealFact } from "./seal-words.ts"
import type { HeaderFacts } from "./types.ts"

export type StatusName = Exclude<keyof typeof Status, "ok">

export const enclaveCode = (status: StatusName) =>
  `ENCLAVE_${status.toUpperCase() as Uppercase<StatusName>}` as const satisfies ErrorCode

/** What is known beyond the status. */
export interface EnclaveErrorFacts {
  /** With "header": what differs. */
  readonly header?: HeaderFacts
  /** With "passphrase": why a sealed keyslot could not even be tried. */
  readonly seal?: StatusName | null
  /** KiB a keyslot's KDF asked for and did not get. */
  readonly neededKib?: number
}

export class EnclaveError extends TresorError {
  readonly status: StatusName
  readonly facts: HeaderFacts | undefined
  readonly seal: StatusName | null
  readonly neededKib: number

  constructor(status: StatusName, facts: EnclaveErrorFacts = {}) {
    const [exitCode, text] = TEXTS[status]
    const needed = facts.neededKib ?? 0
    const message =
      status === "memory" && needed > 0
        ? memoryText(needed)
        : status === "header" && facts.header?.macsMissing === true
          ? MACS_MISSING
          : status === "header" && facts.header?.passChanged === true
            ? PASS_CHANGED
            : text
    super(enclaveCode(status), exitCode, message)
    this.status = status
    this.facts = facts.header
    this.seal = facts.seal ?? null
    this.neededKib = needed
  }
}

function memoryText(kib: number): string {
  return (
    `Cannot derive the key: the keyslot's KDF needs ${Math.ceil(kib / 1024)} MiB and the enclave has less; ` +
    "use another keyslot, or convert this one with `cryptsetup luksConvertKey --pbkdf-memory`"
  )
}

const MACS_MISSING =
  "Refused: the header has a sealed keyslot and no MACs: another program removed them, or somebody who changed it; " +
  "restore a backup, or if that was you, vouch for it with `tresor header authenticate`"

const PASS_CHANGED =
  "Refused: the reencryption is not as it was authenticated: its header was changed or restored from a backup, or another " +
  "program went on with it; if that was you with `cryptsetup reencrypt`, vouch for it with `tresor reencrypt --resume --authenticate`"

function unsealed(status: SealStatus): string {
  return `Cannot unseal the keyslot's salt: ${sealFact(status)}; the recovery key opens the volume: \`tresor recover\``
}

const TEXTS: Readonly<Record<StatusName, readonly [ExitCode, string]>> = {
  request: [Exit.badArguments, "The enclave refused a malformed request"],
  state: [Exit.badArguments, "The enclave is not in a state for this request"],
  handle: [Exit.wrongDevice, "The enclave holds no key for this volume; unlock it again"],
  passphrase: [Exit.denied, "No key available with this passphrase."],
  message: [
    Exit.denied,
    "The enclave refused the sealed passphrase: it was altered, used before, or made for another purpose; try again",
  ],
  memory: [Exit.noMemory, "Cannot derive the key: the enclave has too little memory for this KDF"],
  unsupported: [
    Exit.wrongDevice,
    "Cannot use this header: it asks for a cipher, hash or KDF that the enclave does not have, or one that costs too " +
      "little; aes-xts-plain64 with 256 or 512 bits is supported",
  ],
  header: [
    Exit.wrongDevice,
    "Refused: the header's segment or digest (cipher, sector size, offset, iv_tweak) was changed since it was " +
      "authenticated; restore a backup, or if that was you, vouch for it with `tresor header authenticate`",
  ],
  busy: [Exit.busy, "The enclave is busy with another key derivation; try again"],
  random: [Exit.wrongDevice, "The CPU's random number generator failed its health check; the enclave makes no keys"],
  dead: [Exit.wrongDevice, "A self-test of the enclave failed; it serves nothing on this CPU"],
  seal_damaged: [Exit.wrongDevice, unsealed("seal_damaged")],
  seal_signer: [Exit.denied, unsealed("seal_signer")],
  seal_enclave: [Exit.denied, unsealed("seal_enclave")],
  seal_version: [Exit.denied, unsealed("seal_version")],
  seal_backend: [Exit.denied, unsealed("seal_backend")],
  seal_machine: [Exit.denied, unsealed("seal_machine")],
  approval: [
    Exit.denied,
    "The enclave that runs refused to yield the volume's key: its owner has not approved the new enclave; " +
      "`tresor upgrade --approve` does, with a passphrase of the volume",
  ],
  successor: [
    Exit.denied,
    "The old enclave refused its successor: what runs here is not the enclave that was named, or is of another kind; " +
      "`tresor status` shows its MRENCLAVE",
  ],
}

/** Name of a status number; `null` for TRESOR_OK. */
export function statusName(status: number): StatusName | null {
  if (status === Status.ok) return null
  const found = Object.entries(Status).find(([, value]) => value === status)
  if (found === undefined) throw new RangeError(`the enclave returned status ${status}`)
  return found[0] as StatusName
}

/** The enclave is gone: a fault inside, or its memory was taken. `fault`: what the CPU reported of it. */
export function enclaveLost(fault: string | null): TresorError {
  return new TresorError(
    "ENCLAVE_LOST",
    Exit.wrongDevice,
    `The enclave is lost (${fault ?? "fault, suspend or memory reclaimed"}); unlock the volume again`,
  )
}

/** A keyslot that an earlier enclave has sealed: asking whether the one that runs now may take it over. */
import { Exit, TresorError } from "../base/errors.ts"
import type { FirstContact } from "../control/enclave.ts"
import { type Predecessor, predecessorsHere, succeed } from "../control/succession.ts"
import type { VolumeClient } from "../control/volume-client.ts"
import { keptImages, keptPlaces } from "../enclave/kept-images.ts"
import { atTerminal } from "./trust.ts"

export interface SuccessionWords {
  readonly keySlot?: number
  /** A policy file; one that names the enclave that runs is an answer. */
  readonly policy?: string
  /** MRENCLAVE that may take over what another enclave sealed, also one of a lower version. */
  readonly succeed?: string
}

/** One volume's, for as long as its passphrase is asked for: the answer counts for every attempt. */
export class Succession {
  readonly #contact: FirstContact
  readonly #client: VolumeClient
  readonly #options: SuccessionWords
  readonly #host: string | undefined
  #agreed = false

  constructor(contact: FirstContact, client: VolumeClient, options: SuccessionWords, host: string | undefined) {
    this.#contact = contact
    this.#client = client
    this.#options = options
    this.#host = host
  }

  /**
   * Whether a salt was handed over, so that the next attempt may open the keyslot. Rejects with
   * SUCCESSION_UNASKED (exit 2) where nobody can be asked, and as the enclaves decide.
   */
  async helps(passphrase: Uint8Array): Promise<boolean> {
    const { keySlot } = this.#options
    const [predecessor] = (await predecessorsHere(this.#client)).filter(
      ({ slots }) => keySlot === undefined || slots.includes(keySlot),
    )
    if (predecessor === undefined) return false
    if (!this.#agreed && !(await this.#agree(predecessor))) return false
    this.#agreed = true
    await this.#succeed(predecessor, passphrase)
    return true
  }

  async #succeed({ mrenclave }: Predecessor, passphrase: Uint8Array): Promise<void> {
    const { status } = this.#contact
    const host = this.#host
    const kept = host === undefined && keptImages(keptPlaces()).some((image) => image.mrenclave === mrenclave)
    const slot = await succeed(
      {
        client: this.#client,
        status,
        predecessor: mrenclave,
        // Of this machine: the image that lies in our own state directory.
        trust: { startedHere: false, ...(host === undefined ? {} : { host }) },
        world: { ...atTerminal(), ...(kept ? { own: { mrenclave } } : {}) },
        keySlot: this.#options.keySlot ?? null,
        downgrade: this.#options.succeed === status.enclave.mrenclave,
      },
      passphrase,
    )
    atTerminal().tell(`keyslot ${slot} of ${status.name} is sealed to the enclave of this version from now on`)
  }

  /** Named on the command line or in the policy file, or else asked about. */
  async #agree({ mrenclave: old, slots }: Predecessor): Promise<boolean> {
    const { name, enclave } = this.#contact.status
    const { succeed: named, policy } = this.#options
    if (named !== undefined) {
      if (named === enclave.mrenclave) return true
      throw new TresorError(
        "SUCCESSION_UNASKED",
        Exit.denied,
        `Cannot unlock ${name}: --succeed names ${named.slice(0, 16)}…, and the enclave that runs is ${enclave.mrenclave}`,
      )
    }
    if (policy !== undefined) {
      const { readPolicyFile } = await import("../attest/assess.ts")
      if (readPolicyFile(policy).mrenclave?.includes(enclave.mrenclave) === true) return true
    }
    const { ask } = atTerminal()
    const what = `keyslot${slots.length === 1 ? "" : "s"} ${slots.join(", ")}`
    if (ask === null) {
      throw new TresorError(
        "SUCCESSION_UNASKED",
        Exit.denied,
        `Cannot unlock ${name}: ${what} is sealed to another enclave (${old.slice(0, 16)}…) and no terminal is ` +
          `available for the question; if you upgraded Tresor, use --succeed ${enclave.mrenclave}`,
      )
    }
    const text =
      `${name}: ${what} is sealed to another enclave than the one that runs now, as after an upgrade of Tresor.\n` +
      (old === enclave.mrenclave ? "Only the signer differs: its signing key lay on this machine.\n" : "") +
      `sealed to MRENCLAVE ${old}\n` +
      `runs now  MRENCLAVE ${enclave.mrenclave}, version ${enclave.isvSvn}\n`
    return ask(text, "May the one that runs now open it from now on (yes/no)? ")
  }
}

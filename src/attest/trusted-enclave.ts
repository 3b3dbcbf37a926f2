/**
 * The only way a passphrase leaves this process: encrypted to an enclave that
 * has shown what it is, for one purpose on one volume, once.
 */
import { type Asked, bindingOf } from "../enclave/asked.ts"
import { sealRequest } from "../enclave/seal-request.ts"
import type { Enclave, Purpose, SealedRequest } from "../enclave/types.ts"
import type { AssessOptions } from "./assess.ts"
import type { Attester, Surroundings } from "./surroundings.ts"

/** An enclave one can ask: our own, or a tresord's. */
export interface Askable extends Attester {
  /** `parameters`: what a tresord says its request is about; nobody has to believe it. `vouched`: of a reencryption, for what another program made of it. */
  challenge(
    purpose: Purpose,
    vouched?: boolean,
  ): Promise<{ readonly nonce: Uint8Array; readonly parameters: Uint8Array }>
}

interface Secrets {
  readonly existing?: Uint8Array
  readonly fresh?: Uint8Array
}

/**
 * An enclave that has been assessed by policy or known-enclaves. Only this can
 * seal, so nothing is sealed to an enclave nobody has looked at.
 */
export class TrustedEnclave {
  readonly #enclave: Askable

  private constructor(enclave: Askable) {
    this.#enclave = enclave
  }

  /** Throws when the enclave is not the one the policy or the first contact named. */
  static async assess(
    enclave: Askable,
    options: Omit<AssessOptions, "startedHere"> & { readonly startedHere: boolean },
    /** Who is asked at first contact, and informed of the findings; default: nobody. */
    world: Partial<Surroundings> = {},
  ): Promise<TrustedEnclave> {
    const { assessEnclave } = await import("./assess.ts")
    await assessEnclave(enclave, options, world)
    return new TrustedEnclave(enclave)
  }

  /** Seals for what this process asks. */
  seal(asked: Asked, secrets: Secrets): Promise<SealedRequest> {
    return this.sealFor(asked.purpose, async () => asked, secrets)
  }

  /** Seals for what is asked after the tresord has said what there is; `decide` may refuse. */
  async sealFor(
    purpose: Purpose,
    decide: (parameters: Uint8Array) => Promise<Asked>,
    secrets: Secrets,
    vouched = false,
  ): Promise<SealedRequest> {
    const { nonce, parameters } = await this.#enclave.challenge(purpose, vouched)
    const binding = await bindingOf(await decide(parameters))
    return sealRequest(this.#enclave.identity.publicKey, { ...binding, nonce }, secrets)
  }
}

/**
 * Loads what `assess` and `seal` run, the latter by a sealed request for nobody:
 * for the time in which something else is waited for. What fails here fails again there.
 */
export async function rehearse(): Promise<void> {
  await import("./assess.ts")
  const base = new Uint8Array(32)
  base[0] = 9
  const asked = {
    purpose: "legacy",
    uuid: "",
    kdf: { type: "argon2id", time: 1, memoryKib: 8, lanes: 1 },
    make: null,
  } as const
  await sealRequest(base, { ...(await bindingOf(asked)), nonce: new Uint8Array(32) }, {})
}

/** An enclave of this process. */
export function askEnclave(enclave: Enclave): Askable {
  return {
    identity: enclave.identity,
    challenge: async (purpose) => ({ nonce: await enclave.challenge(purpose), parameters: new Uint8Array() }),
    report: (targetInfo, nonce) => enclave.report(targetInfo, nonce),
  }
}

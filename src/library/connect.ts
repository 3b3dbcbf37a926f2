/** A volume that a tresord of this machine serves. */
import { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { closeVolume, connectVolume } from "../control/daemon.ts"
import { askVolume } from "../control/enclave.ts"
import { checkKind, unlockWith } from "../control/unlock.ts"
import type { VolumeStatus } from "../control/volume.ts"
import type { VolumeClient } from "../control/volume-client.ts"
import { audienceOf, type TrustOptions, type WorldOptions } from "./options.ts"
import { wiping } from "./secrets.ts"

export interface UnlockOptions extends Pick<TrustOptions, "trust">, WorldOptions {
  /** Only this keyslot, 0 to 31. */
  readonly keySlot?: number
  /** The passphrase is for mappings of 2016's flow; the tresord must not choose that. */
  readonly legacy?: boolean
}

/** Closing it leaves the tresord as it is. Every call throws CONTROL_LOST (exit 4) when the tresord ends in between. */
export class RunningVolume implements AsyncDisposable {
  readonly name: string
  readonly #client: VolumeClient

  constructor(name: string, client: VolumeClient) {
    this.name = name
    this.#client = client
  }

  status(): Promise<VolumeStatus> {
    return this.#client.status()
  }

  /** The status now and after each change of state, until the tresord ends. */
  async *watch(): AsyncGenerator<VolumeStatus, void> {
    // The answers to one call fill a connection: other calls go on in theirs.
    using client = await connectVolume(this.name)
    yield* client.watch()
  }

  /**
   * Seals the passphrase, which is wiped, to the tresord's enclave once that is trusted. Throws ENCLAVE_PASSPHRASE,
   * ATTEST_… (exit 2), PURPOSE_REFUSED (exit 1).
   */
  unlock(passphrase: Uint8Array, options: UnlockOptions = {}): Promise<VolumeStatus> {
    return wiping([passphrase], async () => {
      const contact = await askVolume(this.#client)
      const { status } = contact
      const legacy = options.legacy === true
      checkKind(status, legacy)
      const { trust: policy } = options
      const audience = audienceOf(options)
      const enclave = await TrustedEnclave.assess(contact.enclave, { policy, startedHere: false }, audience)
      const request = { keySlot: options.keySlot ?? null, unsealed: true, legacy, host: null, tell: audience.tell }
      return unlockWith({ client: this.#client, enclave, status }, passphrase, request)
    })
  }

  /** The key is wiped; I/O waits for the next `unlock`. */
  async lock(): Promise<void> {
    await this.#client.call("Lock")
  }

  /** Ends the tresord and waits for that. Throws VOLUME_IN_USE (exit 5) while clients are connected, unless `force`. */
  async stop({ force = false }: { readonly force?: boolean } = {}): Promise<void> {
    await closeVolume(this.name, {}, force ? { force } : {})
  }

  close(): void {
    this.#client[Symbol.dispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }
}

/**
 * Connects to the tresord that serves `name` for this user. Throws NOT_OPEN, VOLUME_DEAD (exit 4), IMPOSTOR (exit 2) when
 * somebody else answers at its socket.
 *
 * @example
 * await using work = await connect("work")
 * await work.unlock(passphrase, { trust: "policy.json" })
 */
export async function connect(name: string): Promise<RunningVolume> {
  return new RunningVolume(name, await connectVolume(name))
}

/** Letting the enclave that runs open what an earlier one has sealed (docs/decisions/0060): what the client seals and sends. */
import { TrustedEnclave } from "../attest/trusted-enclave.ts"
import { admitted } from "../enclave/asked.ts"
import { decodePublicHeader } from "../enclave/marshal.ts"
import { askVolume } from "./enclave.ts"
import type { VolumeOutput, VolumeStatus } from "./volume.ts"
import type { VolumeClient } from "./volume-client.ts"

export type Predecessor = VolumeOutput<"Predecessors">["enclaves"][number]

/** Those that can hand a salt over: their image is on the machine. */
export async function predecessorsHere(client: VolumeClient): Promise<readonly Predecessor[]> {
  const { enclaves } = await client.call("Predecessors", {})
  return enclaves.filter(({ kept }) => kept)
}

export interface Succeeding {
  readonly client: VolumeClient
  readonly status: VolumeStatus
  /** MRENCLAVE of the enclave that the keyslot is sealed to, and how it is judged. */
  readonly predecessor: string
  readonly trust: Parameters<typeof TrustedEnclave.assess>[1]
  readonly world: Parameters<typeof TrustedEnclave.assess>[2]
  /** The only keyslot that may be tried; `null`: all that are sealed. */
  readonly keySlot: number | null
  /** Also to a lower ISVSVN. */
  readonly downgrade: boolean
}

/**
 * Gives `passphrase`, which stays the caller's to wipe, to the predecessor, for it to hand the salt of the keyslot that
 * opens to the enclave of `status`, which its user has named. Resolves with that keyslot, whose new seal the next
 * unlock saves. Rejects as the enclaves decide: ENCLAVE_PASSPHRASE, ENCLAVE_SUCCESSOR, ENCLAVE_SEAL_VERSION (exit 2).
 */
export async function succeed(
  { client, status, predecessor, trust, world, keySlot: slot, downgrade }: Succeeding,
  passphrase: Uint8Array,
): Promise<number> {
  const { enclave: old } = await askVolume(client, predecessor)
  const trusted = await TrustedEnclave.assess(old, { ...trust, predecessor: true }, world)
  const { context, bytes } = await trusted.sealFor(
    "succeed",
    async (parameters) => {
      const shown = decodePublicHeader(parameters, status.uuid)
      const header = { ...shown, keyslots: admitted(shown.keyslots, { slot, unsealed: false }) }
      return { purpose: "succeed", header, slot, successor: status.enclave.mrenclave, policy: "mrenclave", downgrade }
    },
    { existing: passphrase },
  )
  const base64 = (value: Uint8Array) => Buffer.from(value).toString("base64")
  const handed = await client.call("Succeed", {
    predecessor,
    slot,
    downgrade,
    nonce: base64(context.nonce),
    request: base64(context.request),
    message: base64(bytes),
  })
  return handed.slot
}

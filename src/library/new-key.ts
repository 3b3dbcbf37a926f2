/** `reencrypt`: a new volume key, for programs. */
import { Exit, TresorError } from "../base/errors.ts"
import { checkSectorSize, keyBytes } from "../keyslots/create.ts"
import type { FreshKeyslot } from "../keyslots/parts.ts"
import { proveKeyslot } from "../keyslots/prove.ts"
import { slotStrengths } from "../keyslots/strength.ts"
import { makeRecoveryKey } from "../luks2/recovery-key.ts"
import type { Segment } from "../luks2/types.ts"
import { type FreshOptions, freshKeyslot } from "./keeper.ts"
import { audienceOf, choiceOf, type TrustOptions, type WorldOptions } from "./options.ts"
import {
  HOT_ZONE,
  keptKeyslot,
  pendingMode,
  type Reencrypting,
  runReencryption,
  startReencryption,
  withReencryption,
} from "./reencrypt.ts"
import { wiping } from "./secrets.ts"

export interface ReencryptOptions extends Omit<FreshOptions, "portable">, TrustOptions, WorldOptions {
  /** Any passphrase of the volume, which opens it afterwards too; wiped by the call. While a reencryption is pending: one that was carried over. */
  readonly passphrase: Uint8Array
  /** Others that are to open it afterwards; wiped by the call. Those of all other keyslots open it no longer. */
  readonly carry?: readonly Uint8Array[]
  /** Path of a detached header. */
  readonly header?: string
  /** Bytes, no less than now; default: as it is. 4096 only where size and offset allow it. */
  readonly sectorSize?: Segment["sectorSize"]
  /** Bits; default: as it is. */
  readonly keySize?: 256 | 512
  /** Bytes that are converted at a time at most, twice which it takes in memory; default 64 MiB. */
  readonly hotZone?: number
  /** How a zone survives a cut, LUKS2 On-Disk Format Specification 1.1, section 5; default "checksum". */
  readonly resilience?: "checksum" | "journal"
  /** Bytes in a second at most; default: as fast as it goes. */
  readonly throttle?: number
  /** Goes on although another program continued a reencryption of ours, or changed its header. */
  readonly authenticate?: boolean
  /**
   * Given a new recovery key (71 bytes of text, wiped afterwards) in place of the old one, when all is made and nothing is
   * written. Without it a recovery key of before opens the volume no longer.
   */
  readonly onRecoveryKey?: (key: Uint8Array) => Promise<void>
  /** Bytes that are under the new key, of all. */
  readonly onProgress?: (done: number, total: number) => void
  /** Pauses at the end of a zone. */
  readonly signal?: AbortSignal
}

export interface Reencrypted {
  /** False: it is paused, and the same call goes on. */
  readonly done: boolean
  /** Keyslots of the old key, which were destroyed at the end. */
  readonly dropped: readonly number[]
}

interface Proved {
  readonly secret: Uint8Array
  readonly slot: number
}

/** Each with the keyslot that it opens; a passphrase given twice counts once. Throws ENCLAVE_PASSPHRASE (exit 2). */
async function prove(volume: Reencrypting, secrets: readonly Uint8Array[]): Promise<Proved[]> {
  const proved: Proved[] = []
  for (const secret of secrets) {
    const slot = await proveKeyslot(volume, { secret, slot: null })
    if (!proved.some((each) => each.slot === slot)) proved.push({ secret, slot })
  }
  return proved
}

async function begin(volume: Reencrypting, options: ReencryptOptions): Promise<void> {
  const { passphrase, carry = [], onRecoveryKey } = options
  const sectorSize = options.sectorSize === undefined ? null : checkSectorSize(options.sectorSize)
  const keySize = options.keySize === undefined ? null : keyBytes(options.keySize)
  const proved = await prove(volume, [passphrase, ...carry])
  const slots = slotStrengths(volume.store.header.metadata)
  const fresh = (each: Proved) =>
    keptKeyslot(volume, each, (portable) =>
      freshKeyslot(volume.enclave, { ...options, portable }, { secret: each.secret, slot: null }),
    )
  const [first, ...rest] = await Promise.all(proved.map(fresh))
  const replaced = slots.some(({ kind, slot }) => kind === "recovery" && !proved.some((each) => each.slot === slot))
  const key = replaced && onRecoveryKey !== undefined ? makeRecoveryKey() : null
  const recovery: FreshKeyslot[] = key === null ? [] : [{ type: "recovery", secret: key, slot: null }]
  try {
    await startReencryption(
      volume,
      proved[0]!,
      {
        keyslots: [first!, ...rest, ...recovery],
        alsoOld: recovery,
        resilience: options.resilience ?? "checksum",
        sectorSize,
        keySize,
      },
      async () => {
        if (key !== null) await onRecoveryKey!(key)
      },
    )
  } finally {
    key?.fill(0)
  }
}

/**
 * Moves the volume at `path`, which is not open, to a new volume key that the enclave makes; goes on where a reencryption
 * is pending. Crash-safe: killed anywhere, the volume opens with the passphrases that it had. Throws TresorError, among
 * others: VOLUME_IN_USE, REENCRYPT_BUSY (exit 5), ENCLAVE_PASSPHRASE (exit 2), REENCRYPT_UNFIT, REENCRYPT_STOPPED (exit 4: an
 * I/O error, it can go on later), REENCRYPT_PENDING (exit 1: an encryption or decryption in place is pending).
 *
 * @example
 * const { done } = await reencrypt("disk.img", { passphrase, onRecoveryKey: print })
 */
export async function reencrypt(path: string, options: ReencryptOptions): Promise<Reencrypted> {
  const { passphrase, carry = [], header, signal } = options
  return wiping([passphrase, ...carry], () =>
    withReencryption({ path, header }, choiceOf(options), audienceOf(options), async (volume) => {
      const mode = pendingMode(volume.store.header)
      if (mode !== null && mode !== "reencrypt") {
        throw new TresorError(
          "REENCRYPT_PENDING",
          Exit.badArguments,
          `Cannot reencrypt ${path}: it is being ${mode}ed; \`tresor reencrypt --resume\` goes on with that`,
        )
      }
      if (mode === null) await begin(volume, options)
      const { done, dropped } = await runReencryption(volume, {
        secret: passphrase,
        vouched: options.authenticate ?? false,
        hotZone: options.hotZone ?? HOT_ZONE,
        throttle: options.throttle ?? 0,
        stop: () => signal?.aborted ?? false,
        progress: options.onProgress ?? (() => {}),
      })
      return { done, dropped }
    }),
  )
}

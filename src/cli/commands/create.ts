import { randomUUID } from "node:crypto"
import type { Backend } from "../../abi/enclave.ts"
import { Exit, TresorError } from "../../base/errors.ts"
import {
  checkLabel,
  checkSize,
  checkUuid,
  DATA_OFFSET,
  HEADER_SIZE,
  type MadeVolume,
  makeVolume,
  type NewVolume,
  writeVolume,
} from "../../keyslots/create.ts"
import type { FreshKeyslot } from "../../keyslots/parts.ts"
import { isSamePath, overlap } from "../../store/extent.ts"
import { type EnclaveChoice, type FreshOptions, freshKeyslot, readNew, withEnclave } from "../keeper.ts"
import { formatSize } from "../options.ts"
import { err, out } from "../output/output.ts"
import { progressBar, withClock } from "../progress.ts"
import { checkRecovery, type RecoveryOptions, withRecoveryKey } from "../recovery-key.ts"
import { type SecretSource, withSecret } from "../secrets.ts"
import { examineTarget, type Target, withTarget } from "../target.ts"

export interface CreateOptions extends SecretSource, EnclaveChoice, FreshOptions, RecoveryOptions {
  readonly size?: bigint
  readonly label?: string
  readonly uuid?: string
  readonly sectorSize?: number
  /** Bits. */
  readonly keySize?: number
  readonly keySlot?: number
  readonly recovery: boolean
  readonly header?: string
  readonly force?: true
  readonly batchMode?: true
  readonly json?: true
}

/** What `create --json` prints. Sizes in bytes, keySize in bits. */
export interface Created {
  readonly path: string
  readonly uuid: string
  readonly label: string
  /** Of the file or device. */
  readonly size: number
  /** Of what clients will have. */
  readonly usable: number
  readonly dataOffset: number
  readonly sectorSize: number
  readonly cipher: string
  readonly keySize: number
  readonly backend: Backend
  readonly keyslot: number
  readonly recoveryKeyslot: number | null
}

/** cryptsetup's choice: the disk's own sectors, 4096 bytes in a file; 512 where those do not fit. */
function chooseSectorSize({ sectorSize, size }: Target): NewVolume["sectorSize"] {
  const best = sectorSize ?? 4096
  const usable = best === 512 || best === 1024 || best === 2048 || best === 4096
  return usable && size % BigInt(best) === 0n ? best : 512
}

/** Throws HEADER_IN_DATA (exit 4): the first write to the volume would destroy its header. */
function checkApart(path: string, header: string): void {
  const place = (each: string) => ({ path: each, offset: 0n, size: null })
  if (!isSamePath(path, header) && !overlap(place(path), { ...place(header), size: DATA_OFFSET })) return
  throw new TresorError(
    "HEADER_IN_DATA",
    Exit.wrongDevice,
    `Cannot create a volume on ${path}: the header in ${header} overlaps with the data area; ` +
      "name another file for the header, or leave --header out",
  )
}

function describe(options: CreateOptions, data: Target): NewVolume {
  return {
    uuid: options.uuid === undefined ? randomUUID() : checkUuid(options.uuid),
    label: checkLabel(options.label ?? ""),
    sectorSize: (options.sectorSize as NewVolume["sectorSize"] | undefined) ?? chooseSectorSize(data),
    keySize: options.keySize === 256 ? 32 : 64,
    detached: options.header !== undefined,
    headerSize: HEADER_SIZE,
  }
}

/** Writes what the enclave made to the disk, or to the header's file. */
async function write(made: MadeVolume, data: Target, header: Target | null): Promise<void> {
  using bar = progressBar("Wiping the header area")
  const progress = (fraction: number) => bar.update(fraction)
  const place = (target: Target) =>
    withTarget(target, (device) => writeVolume(device, made, { wipeOld: target.kind !== "new", progress }))
  if (header === null) return place(data)
  // The header last: without its data it would be taken for a volume.
  await withTarget(data, async () => place(header))
}

/** Makes a volume. Nothing is written before the recovery key has got to its owner. */
export async function createVolume(path: string, options: CreateOptions): Promise<Created> {
  const force = options.force === true
  if (options.header !== undefined) checkApart(path, options.header)
  const data = await examineTarget(path, { size: options.size, force })
  const header = options.header === undefined ? null : await examineTarget(options.header, { size: DATA_OFFSET, force })
  const volume = describe(options, data)
  checkSize(data.size, volume, path)
  if (options.recovery) checkRecovery(options)

  return withSecret(readNew(`Enter passphrase for ${path}`, options, options), (secret) =>
    withEnclave(options, async (keeper) => {
      if (secret.length === 0) throw emptyPassphrase(path)
      const first = await freshKeyslot(keeper.enclave, options, { secret, slot: options.keySlot ?? 0 })
      const make = async (more: readonly FreshKeyslot[], deliver: () => Promise<void>) => {
        const made = await withClock("Making the keyslots", makeVolume(keeper, volume, [first, ...more], path))
        await deliver()
        await write(made, data, header)
        return made
      }
      const { slots } = options.recovery
        ? await withRecoveryKey(options, (key, deliver) =>
            make([{ type: "recovery", secret: key, slot: null }], deliver),
          )
        : await make([], async () => {})
      return {
        path,
        uuid: volume.uuid,
        label: volume.label,
        size: Number(data.size),
        usable: Number(data.size) - (header === null ? Number(DATA_OFFSET) : 0),
        dataOffset: header === null ? Number(DATA_OFFSET) : 0,
        sectorSize: volume.sectorSize,
        cipher: "aes-xts-plain64",
        keySize: volume.keySize * 8,
        backend: keeper.enclave.identity.backend,
        keyslot: slots[0]!,
        recoveryKeyslot: slots[1] ?? null,
      }
    }),
  )
}

function emptyPassphrase(path: string): TresorError {
  return new TresorError(
    "PASSPHRASE_EMPTY",
    Exit.badArguments,
    `Cannot create a volume on ${path} with an empty passphrase; give at least one byte`,
  )
}

export async function create(path: string, options: CreateOptions): Promise<void> {
  const made = await createVolume(path, options)
  if (options.json === true) {
    out.json(made)
  } else {
    const sealed =
      options.portable === true ? "opened by cryptsetup too" : `sealed to this machine, backend ${made.backend}`
    out.line(
      `${path}: ${formatSize(made.usable)} usable of ${formatSize(made.size)}, ${made.cipher} with ${made.keySize}-bit key, ` +
        `${made.sectorSize}-byte sectors, UUID ${made.uuid}.`,
    )
    out.line(`Passphrase in keyslot ${made.keyslot}, ${sealed}.`)
  }
  if (made.recoveryKeyslot === null && options.portable !== true) {
    err.line(
      "Warning: there is no recovery key; when this machine dies, the data is lost. `tresor key add --portable` adds a way in.",
    )
  }
}

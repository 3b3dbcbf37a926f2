/** A reencryption that was begun, by us or by cryptsetup, goes on: its header, its data and a passphrase agree first. */
import { Exit, TresorError } from "../base/errors.ts"
import type { PassArea, Pass as PassRequest, SealedRequest, VolumeHandle } from "../enclave/types.ts"
import { sideHeader } from "../header/side.ts"
import type { VolumeKeeper } from "../keyslots/parts.ts"
import { explainUnlock } from "../keyslots/seal-status.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { foreignKind, type Position, positionOf, type Reencryption } from "../luks2/reencryption.ts"
import { isHash } from "../luks2/tampering.ts"
import type { Digest, Header } from "../luks2/types.ts"
import { type Ended, endPass, type PassPlace, pendingIn, type RunOptions, runPass, volumeSize } from "./run.ts"
import { isUnprobed, type Probed, probeAt } from "./zones.ts"

export interface ResumeOptions extends RunOptions {
  /** Any passphrase that opens a keyslot of each key. */
  readonly secret: Uint8Array
  /** The user answers for what another program made of the reencryption. */
  readonly vouched: boolean
}

const refused = (path: string, fact: string, code: "REENCRYPT_FOREIGN" | "REENCRYPT_INVALID" | "REENCRYPT_UNFIT") =>
  new TresorError(code, Exit.wrongDevice, `Cannot resume the reencryption of ${path}: ${fact}`)

function unauthenticated(path: string): TresorError {
  return new TresorError(
    "REENCRYPT_UNAUTHENTICATED",
    Exit.wrongDevice,
    `Cannot resume the reencryption of ${path}: another program began it, or went on with it, so that its state is not ` +
      "authenticated; if that was you with `cryptsetup reencrypt`, vouch for it with --authenticate",
  )
}

function rolledBack(path: string): TresorError {
  return new TresorError(
    "REENCRYPT_ROLLED_BACK",
    Exit.wrongDevice,
    `Cannot resume the reencryption of ${path}: its header is of another time than its data, as after a header was restored ` +
      "from a backup; going on would destroy data; restore the latest header",
  )
}

/** LUKS2's digest over both keys and the metadata. */
function verificationOf({ metadata }: LuksHeader, { verification }: Reencryption): Digest | null {
  const found = verification === null ? undefined : metadata.digests.get(verification)
  if (found === undefined || found.fault !== undefined || !isHash(found.hash)) return null
  const { hash, iterations, salt, digest } = found
  return { hash, iterations, salt, digest }
}

export function areaOf({ area }: Reencryption): PassArea {
  const resilience = area.type === "journal" ? "journal" : "checksum"
  return { resilience, block: area.sectorSize ?? 0, offset: area.offset, size: area.size }
}

/** The new key opens with the passphrase: what the old one opened may go. */
async function proveNew({ enclave, seal, path }: VolumeKeeper, header: Header, secret: Uint8Array): Promise<void> {
  const sealed = await seal({ purpose: "unlock", header, slot: null }, { existing: secret })
  const { handle } = await enclave.unlock(sealed, header).catch((error: unknown) => {
    throw explainUnlock(error, header, enclave.identity, path)
  })
  enclave.closeVolume(handle)
}

/** Nothing of it may have been authenticated, or its user vouches for it. */
function macOf(path: string, { state }: Reencryption, headers: readonly Header[], vouched: boolean): Uint8Array | null {
  if (vouched) return null
  if (state !== null) return state.mac
  if (headers.some(({ macs }) => macs !== null)) throw unauthenticated(path)
  return null
}

/** Throws REENCRYPT_UNFIT, REENCRYPT_ROLLED_BACK; returns the probe. */
async function checkData(
  { path }: PassPlace,
  { state }: Reencryption,
  { position, hot }: Position,
  probed: Probed,
  vouched: boolean,
): Promise<Uint8Array> {
  const { total } = probed
  if (total < 0 || position + hot > BigInt(total)) {
    throw refused(path, "it ends before the data that are converted; it was made smaller", "REENCRYPT_UNFIT")
  }
  if (state !== null && !vouched && state.size !== BigInt(total)) {
    const fact = `the volume had ${state.size} bytes when it began and has ${total} now; give the device its size back`
    throw refused(path, fact, "REENCRYPT_UNFIT")
  }
  if (state !== null && !vouched && isUnprobed(state.probe)) return state.probe
  const probe = await probeAt(probed, Number(position + hot))
  if (state !== null && !vouched && Buffer.compare(probe, state.probe) !== 0) throw rolledBack(path)
  return probe
}

/** A reencryption that can go on: what the enclave is to take, and what is done by it. */
export interface Described {
  /** Less what the handle is for. */
  readonly pass: Omit<PassRequest, "use">
  readonly reencryption: Reencryption
  readonly sequenceId: bigint
  readonly total: number
}

/** The kind is one that Tresor takes on, and its segments say where it is. Throws REENCRYPT_FOREIGN, REENCRYPT_INVALID (exit 4). */
function placeOf(header: LuksHeader, reencryption: Reencryption, path: string): Position {
  const kind = foreignKind(reencryption)
  if (kind !== null) {
    const fact = `${kind}, which Tresor does not support; \`cryptsetup reencrypt --resume-only\` finishes it`
    throw refused(path, fact, "REENCRYPT_FOREIGN")
  }
  const where = positionOf(header.metadata, reencryption)
  if (typeof where === "string") throw refused(path, `${where}; restore a header backup`, "REENCRYPT_INVALID")
  return where
}

/**
 * The pass that the header was last read with is in, checked against its data; nothing is written. Throws
 * REENCRYPT_NONE (exit 1), REENCRYPT_FOREIGN, REENCRYPT_INVALID, REENCRYPT_UNFIT, REENCRYPT_ROLLED_BACK,
 * REENCRYPT_UNAUTHENTICATED (exit 4); of one whose data are all under the new key, REENCRYPT_INVALID.
 */
export async function describePass(place: PassPlace, vouched: boolean): Promise<Described> {
  const { store, path, data } = place
  const { header } = store
  const reencryption = pendingIn(header, path)
  const where = placeOf(header, reencryption, path)
  if (where.done) {
    const fact = "all data are under the new key; close the volume, `tresor reencrypt --resume` of its path ends it"
    throw refused(path, fact, "REENCRYPT_INVALID")
  }
  const final = await sideHeader(store, reencryption, "new")
  const previous = await sideHeader(store, reencryption, "old")
  const total = volumeSize(data, reencryption)
  const sector = Math.max(reencryption.previous.sectorSize, reencryption.final.sectorSize)
  const probed = { data, offset: Number(reencryption.previous.offset), total, sector }
  const probe = await checkData(place, reencryption, where, probed, vouched)
  const verification = verificationOf(header, reencryption)
  if (verification === null) {
    throw refused(path, "its verification digest is missing; `cryptsetup repair` makes one", "REENCRYPT_INVALID")
  }
  const pass = {
    previous,
    final,
    area: areaOf(reencryption),
    progress: { position: where.position, hot: where.hot, probe },
    resumed: { verification, mac: macOf(path, reencryption, [previous, final], vouched) },
  }
  return { pass, reencryption, sequenceId: header.sequenceId, total }
}

/** The enclave's pass by a sealed request for it. Throws as the enclave decides. */
export async function enterPass(
  { enclave, path }: Pick<VolumeKeeper, "enclave" | "path">,
  pass: PassRequest,
  sealed: SealedRequest,
): Promise<VolumeHandle> {
  const { handle } = await enclave.reencrypt(sealed, pass).catch((error: unknown) => {
    throw explainUnlock(error, pass.previous, enclave.identity, path)
  })
  return handle
}

/** Throws REENCRYPT_NONE (exit 1), REENCRYPT_FOREIGN, REENCRYPT_INVALID (exit 4), and as the enclave decides. */
export async function resumePass(keeper: VolumeKeeper, place: PassPlace, options: ResumeOptions): Promise<Ended> {
  const { store, path, enclave, seal } = keeper
  const { secret, vouched } = options
  const header = await store.reload()
  const pending = pendingIn(header, path)
  if (placeOf(header, pending, path).done) {
    const final = await sideHeader(store, pending, "new")
    // Tresor never writes this state; cryptsetup does, and may be cut off in it.
    if (!vouched && (pending.state !== null || final.macs !== null)) throw unauthenticated(path)
    await proveNew(keeper, final, secret)
    return { done: true, dropped: await endPass(place, pending) }
  }
  const { pass, ...described } = await describePass(place, vouched)
  const request: PassRequest = { ...pass, use: "convert" }
  const sealed = await seal({ purpose: "reencrypt", pass: request }, { existing: secret })
  const handle = await enterPass(keeper, request, sealed)
  try {
    // A cut between both copies left one of an earlier state: what falls back to it after more data are converted
    // would convert them twice.
    await store.repair()
    return await runPass({ ...place, enclave, handle, ...described }, options)
  } finally {
    if (enclave.alive) enclave.closeVolume(handle)
  }
}

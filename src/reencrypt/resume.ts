/** A reencryption that was begun, by us or by cryptsetup, goes on: its header, its data and a passphrase agree first. */
import { Exit, TresorError } from "../base/errors.ts"
import { isPlain, keyed } from "../enclave/marshal.ts"
import type { BegunPass, PassArea, Pass as PassRequest, Plain, SealedRequest } from "../enclave/types.ts"
import type { HeaderStore } from "../header/header-store.ts"
import { sideHeader } from "../header/side.ts"
import type { VolumeKeeper } from "../keyslots/parts.ts"
import { explainUnlock } from "../keyslots/seal-status.ts"
import type { LuksHeader } from "../luks2/metadata.ts"
import { foreignKind, type Reencryption } from "../luks2/reencryption.ts"
import { behindZone, type Position, positionOf } from "../luks2/reencryption-position.ts"
import { isHash } from "../luks2/tampering.ts"
import type { Digest, Header } from "../luks2/types.ts"
import { keyedSide, plainOf } from "./enter.ts"
import {
  type Ended,
  endPass,
  type PassPlace,
  pendingIn,
  placesOf,
  type RunOptions,
  resilienceOf,
  runPass,
  volumeSize,
} from "./run.ts"
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

/** A side with its keyslots; plaintext has none. */
async function sideOfPass(
  store: HeaderStore,
  reencryption: Reencryption,
  side: "old" | "new",
): Promise<Header | Plain> {
  const segment = side === "old" ? reencryption.previous : reencryption.final
  return segment.type === "linear" ? plainOf(segment) : sideHeader(store, reencryption, side)
}

/** LUKS2's digest over both keys and the metadata. */
function verificationOf({ metadata }: LuksHeader, { verification }: Reencryption): Digest | null {
  const found = verification === null ? undefined : metadata.digests.get(verification)
  if (found === undefined || found.fault !== undefined || !isHash(found.hash)) return null
  const { hash, iterations, salt, digest } = found
  return { hash, iterations, salt, digest }
}

function areaOf({ area }: Reencryption): PassArea {
  return { resilience: resilienceOf(area), block: area.sectorSize ?? 0, offset: area.offset, size: area.size }
}

/** A key opens with the passphrase: the new one, before what the old one opened goes, or the one that a decryption had. */
async function prove({ enclave, seal, path }: VolumeKeeper, header: Header, secret: Uint8Array): Promise<void> {
  const sealed = await seal({ purpose: "unlock", header, slot: null }, { existing: secret })
  const { handle } = await enclave.unlock(sealed, header).catch((error: unknown) => {
    throw explainUnlock(error, header, enclave.identity, path)
  })
  enclave.closeVolume(handle)
}

/** The same where cryptsetup was cut off at its end. Of plaintext it may have destroyed what a keyslot opens, and then itself ends it no more. */
async function proveLeft(keeper: VolumeKeeper, header: Header, secret: Uint8Array, plain: boolean): Promise<void> {
  await prove(keeper, header, secret).catch((error: unknown) => {
    if (!plain || !(error instanceof TresorError) || error.code !== "ENCLAVE_PASSPHRASE") throw error
    throw new TresorError(
      error.code,
      error.exitCode,
      `${error.message.replace(/\.$/, "")}; all data of ${keeper.path} are plaintext, and cryptsetup may have destroyed its ` +
        "keyslots: --authenticate ends the decryption without a passphrase",
    )
  })
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
  reencryption: Reencryption,
  where: Position,
  probed: Probed,
  vouched: boolean,
): Promise<Uint8Array> {
  const { state } = reencryption
  const { total } = probed
  const then = behindZone(reencryption, where)
  if (total < 0 || then < 0n || then > BigInt(total) || where.position > BigInt(total)) {
    throw refused(path, "it ends before the data that are converted; it was made smaller", "REENCRYPT_UNFIT")
  }
  if (state !== null && !vouched && state.size !== BigInt(total)) {
    const fact = `the volume had ${state.size} bytes when it began and has ${total} now; give the device its size back`
    throw refused(path, fact, "REENCRYPT_UNFIT")
  }
  if (state !== null && !vouched && isUnprobed(state.probe)) return state.probe
  const probe = await probeAt(probed, Number(then))
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
function placeOf({ path, data }: PassPlace, header: LuksHeader, reencryption: Reencryption): Position {
  const kind = foreignKind(reencryption)
  if (kind !== null) {
    const fact = `${kind}, which Tresor does not support; \`cryptsetup reencrypt --resume-only\` finishes it`
    throw refused(path, fact, "REENCRYPT_FOREIGN")
  }
  const total = Math.max(0, volumeSize(data, reencryption))
  const where = positionOf(header.metadata, reencryption, BigInt(total))
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
  const where = placeOf(place, header, reencryption)
  if (where.done) {
    const fact = "all data are under the new key; close the volume, `tresor reencrypt --resume` of its path ends it"
    throw refused(path, fact, "REENCRYPT_INVALID")
  }
  const { moved } = reencryption
  const previous = await sideOfPass(store, reencryption, "old")
  const final = await sideOfPass(store, reencryption, "new")
  const total = volumeSize(data, reencryption)
  const probed = { data, total, ...placesOf(reencryption) }
  const probe = await checkData(place, reencryption, where, probed, vouched)
  const verification = verificationOf(header, reencryption)
  if (verification === null) {
    throw refused(path, "its verification digest is missing; `cryptsetup repair` makes one", "REENCRYPT_INVALID")
  }
  const pass = {
    previous,
    final,
    moved: moved === null ? null : { offset: moved.offset, size: moved.size! },
    area: areaOf(reencryption),
    progress: { position: where.position, hot: where.hot, probe },
    resumed: { verification, mac: macOf(path, reencryption, keyed({ previous, final }), vouched) },
  }
  return { pass, reencryption, sequenceId: header.sequenceId, total }
}

/** Both sides of a pass from key to key, as a volume in use is in. Throws REENCRYPT_FOREIGN (exit 4) of any other. */
export function bothKeys(
  { previous, final }: Pick<PassRequest, "previous" | "final">,
  path: string,
): { readonly previous: Header; readonly final: Header } {
  if (!isPlain(previous) && !isPlain(final)) return { previous, final }
  throw refused(path, "one side of it is plaintext; close the volume first", "REENCRYPT_FOREIGN")
}

/** A volume that is opened read-only and whose zone has to be recovered first. */
export function needsWriting(path: string): TresorError {
  return new TresorError(
    "REENCRYPT_PENDING",
    Exit.wrongDevice,
    `Cannot open ${path} read-only: its reencryption was interrupted in a zone, which is recovered first; leave --readonly out`,
  )
}

/** The enclave's pass by a sealed request for it, the keyslot that opened, and what the header after it is by its MACs. Throws as the enclave decides. */
export async function enterPass(
  { enclave, path }: Pick<VolumeKeeper, "enclave" | "path">,
  pass: PassRequest,
  sealed: SealedRequest,
): Promise<Pick<BegunPass, "handle" | "slot" | "facts">> {
  return enclave.reencrypt(sealed, pass).catch((error: unknown) => {
    throw explainUnlock(error, keyedSide(pass), enclave.identity, path)
  })
}

/** Throws REENCRYPT_NONE (exit 1), REENCRYPT_FOREIGN, REENCRYPT_INVALID (exit 4), and as the enclave decides. */
export async function resumePass(keeper: VolumeKeeper, place: PassPlace, options: ResumeOptions): Promise<Ended> {
  const { store, path, enclave, seal } = keeper
  const { secret, vouched } = options
  const header = await store.reload()
  const pending = pendingIn(header, path)
  if (placeOf(place, header, pending).done) {
    // Tresor never writes this state; cryptsetup does, and may be cut off in it.
    const left = await sideHeader(store, pending, pending.final.type === "linear" ? "old" : "new")
    if (!vouched && (pending.state !== null || left.macs !== null)) throw unauthenticated(path)
    const plain = pending.final.type === "linear"
    if (left.keyslots.length > 0 && !(plain && vouched)) await proveLeft(keeper, left, secret, plain)
    return { done: true, dropped: await endPass(place, pending) }
  }
  const { pass, ...described } = await describePass(place, vouched)
  const request: PassRequest = { ...pass, use: "convert" }
  const sealed = await seal({ purpose: "reencrypt", pass: request }, { existing: secret })
  const { handle } = await enterPass(keeper, request, sealed)
  try {
    // A cut between both copies left one of an earlier state: what falls back to it after more data are converted
    // would convert them twice.
    await store.repair()
    return await runPass({ ...place, enclave, handle, ...described }, options)
  } finally {
    if (enclave.alive) enclave.closeVolume(handle)
  }
}

/**
 * `Enclave` over the addon: puts requests together (place.ts), enters, takes the
 * answers apart. Nothing secret passes here but what is sealed to the enclave, and
 * in `legacy` the bytes dm-crypt handed down, which are wiped.
 */
import type { Backend } from "../abi/enclave.ts"
import * as abi from "../abi/enclave.ts"
import * as sgx from "../abi/sgx.ts"
import { type Decoded, encode } from "../abi/struct.ts"
import type { Digest, Hash, Header, HeaderMacs, KeyslotParameters, MadeKeyslot, Segment } from "../luks2/types.ts"
import type { FileSectors } from "../native/addon.ts"
import { addressOf, createSectors, type NativeEnclave } from "../native/addon.ts"
import type { NativeDisk } from "../native/disk.ts"
import { EnclaveError, statusName } from "./error.ts"
import {
  decodeMacs,
  digestFields,
  encodeMacs,
  freshDigestFields,
  isPlain,
  kdfFields,
  keyed,
  passFields,
  progressFields,
  SEALED_SIZE,
  segmentFields,
} from "./marshal.ts"
import { factsOf, judge, judgePass } from "./outcome.ts"
import {
  areaSize,
  blocksRoom,
  headerRoom,
  placeBlocks,
  placedBlock,
  placeFresh,
  placeHeader,
  placeMessage,
  placeRanges,
  rangesRoom,
} from "./place.ts"
import { Request } from "./request.ts"
import { LOST, mostLanes, Session } from "./session.ts"
import type {
  Authenticated,
  BegunPass,
  Block,
  Enclave,
  Pass,
  Purpose,
  Range,
  SealedRequest,
  SealPolicy,
  Successor,
  Unlocked,
  VolumeHandle,
} from "./types.ts"

/** Of keys that are random: iterations protect nothing; LUKS2's least. */
const VERIFICATION = { hash: "sha256", iterations: 1000 } as const

function madeDigest(
  asked: Pick<Digest, "hash" | "iterations">,
  { salt, salt_size, digest, digest_size }: Decoded<typeof abi.digest>,
): Digest {
  return { ...asked, salt: salt.slice(0, salt_size), digest: digest.slice(0, digest_size) }
}

export class EnclaveClient extends Session implements Enclave {
  /** HELLO. `cpu`: features to use at most, for tests and benchmarks. Owns `native` from now on. */
  static async start(native: NativeEnclave, backend: Backend, cpu?: number): Promise<EnclaveClient> {
    return new EnclaveClient(native, await Session.hello(native, backend, cpu))
  }

  async challenge(purpose: Purpose): Promise<Uint8Array> {
    const request = new Request(abi.challenge, 0, addressOf)
    this.enterNow(request.fill(abi.Op.challenge, { purpose: abi.Purpose[purpose] }))
    return request.result().nonce
  }

  async report(targetInfo: Uint8Array, nonce: Uint8Array): Promise<Uint8Array> {
    const request = new Request(abi.report, Request.sizeOf(targetInfo.length, sgx.report.size), addressOf)
    const target = request.place(targetInfo)
    const report = request.reserve(sgx.report.size)
    this.enterNow(request.fill(abi.Op.report, { nonce, target_info: target.address, report: report.address }))
    return report.bytes.slice()
  }

  async create(
    sealed: SealedRequest,
    header: {
      readonly uuid: string
      readonly segment: Segment
      readonly digest: { readonly hash: Hash; readonly iterations: number }
    },
    keyslot: KeyslotParameters,
    policy: SealPolicy,
  ): Promise<{ readonly digest: Digest; readonly keyslot: MadeKeyslot; readonly macs: HeaderMacs }> {
    const { hash, iterations } = header.digest
    const room = Request.sizeOf(sealed.bytes.length, areaSize(keyslot.keySize), SEALED_SIZE, abi.macs.size)
    const request = new Request(abi.create, room, addressOf)
    const message = placeMessage(request, sealed)
    const fresh = placeFresh(request, keyslot)
    const macs = request.reserve(abi.macs.size)
    const bytes = request.fill(abi.Op.create, {
      policy: abi.SealPolicy[policy],
      message,
      segment: segmentFields(header.segment),
      digest: freshDigestFields(header.digest),
      keyslot: fresh.fields,
      macs: macs.address,
    })
    this.answered(await this.derive(bytes, mostLanes([keyslot.kdf, keyslot.passphraseKdf])))
    const { digest, keyslot: made } = request.result()
    return {
      digest: madeDigest({ hash, iterations }, digest),
      keyslot: fresh.made(made),
      macs: decodeMacs(macs.bytes),
    }
  }

  async #unlock(sealed: SealedRequest, header: Header, authenticate: boolean) {
    const room = headerRoom(header) + Request.sizeOf(sealed.bytes.length, SEALED_SIZE, abi.macs.size)
    const request = new Request(abi.unlock, room, addressOf)
    const message = placeMessage(request, sealed)
    const { fields, macs, lanes } = placeHeader(request, header)
    const resealed = request.reserve(SEALED_SIZE)
    const made = authenticate ? request.reserve(abi.macs.size) : null
    const bytes = request.fill(abi.Op.unlock, {
      ...fields,
      message,
      macs: macs?.address ?? 0n,
      macs_out: made?.address ?? 0n,
      sealed_out: authenticate ? 0n : resealed.address,
    })
    const status = await this.derive(bytes, lanes)
    const result = request.result()
    judge(status, result, result.slots_added, result.slots_removed)
    return { result, facts: factsOf(result), resealed: resealed.bytes, made }
  }

  async unlock(sealed: SealedRequest, header: Header): Promise<Unlocked> {
    const { result, facts, resealed } = await this.#unlock(sealed, header, false)
    return {
      ...facts,
      handle: result.handle as VolumeHandle,
      slot: result.slot,
      resealed: result.resealed === 1 ? resealed.slice() : null,
    }
  }

  async authenticate(sealed: SealedRequest, header: Header): Promise<Authenticated> {
    const { made, result } = await this.#unlock(sealed, header, true)
    return { macs: decodeMacs(made!.bytes), macsMissing: result.macs_missing === 1 }
  }

  async enrol(
    sealed: SealedRequest,
    header: Header,
    fresh: KeyslotParameters,
    policy: SealPolicy,
  ): Promise<{ readonly keyslot: MadeKeyslot; readonly macs: HeaderMacs; readonly slot: number }> {
    const room =
      headerRoom(header) + Request.sizeOf(sealed.bytes.length, areaSize(fresh.keySize), SEALED_SIZE, abi.macs.size)
    const request = new Request(abi.enrol, room, addressOf)
    const message = placeMessage(request, sealed)
    const { fields, macs, lanes } = placeHeader(request, header)
    const placed = placeFresh(request, fresh)
    const macsOut = request.reserve(abi.macs.size)
    const bytes = request.fill(abi.Op.enrol, {
      ...fields,
      message,
      policy: abi.SealPolicy[policy],
      fresh: placed.fields,
      macs: macs?.address ?? 0n,
      macs_out: macsOut.address,
    })
    const status = await this.derive(bytes, Math.max(lanes, mostLanes([fresh.kdf, fresh.passphraseKdf])))
    const result = request.result()
    judge(status, result)
    return { keyslot: placed.made(result.fresh), macs: decodeMacs(macsOut.bytes), slot: result.slot }
  }

  async bequeath(
    sealed: SealedRequest,
    header: Header,
    successor: Successor,
    policy: SealPolicy,
  ): Promise<{ readonly handover: Uint8Array; readonly slot: number }> {
    const room =
      headerRoom(header) + Request.sizeOf(sealed.bytes.length, sgx.report.size, abi.handover.size, abi.macs.size)
    const request = new Request(abi.bequeath, room, addressOf)
    const message = placeMessage(request, sealed)
    const { fields, macs, lanes } = placeHeader(request, header)
    const report = request.place(successor.report)
    const handover = request.reserve(abi.handover.size)
    const bytes = request.fill(abi.Op.bequeath, {
      ...fields,
      message,
      policy: abi.SealPolicy[policy],
      macs: macs?.address ?? 0n,
      report: report.address,
      handover: handover.address,
      successor: Buffer.from(successor.mrenclave, "hex"),
      public_key: successor.publicKey,
      nonce: successor.nonce,
    })
    const status = await this.derive(bytes, lanes)
    const { outcome } = request.result()
    judge(status, { ...outcome, slots_changed: 0 })
    return { handover: handover.bytes.slice(), slot: outcome.slot }
  }

  async inherit(handover: Uint8Array): Promise<Uint8Array> {
    const request = new Request(abi.inherit, Request.sizeOf(handover.length, SEALED_SIZE), addressOf)
    const given = request.place(handover)
    const sealed = request.reserve(SEALED_SIZE)
    this.enterNow(request.fill(abi.Op.inherit, { handover: given.address, sealed_out: sealed.address }))
    return sealed.bytes.slice()
  }

  async approve(sealed: SealedRequest, header: Header, handle: VolumeHandle, successor: string): Promise<number> {
    const room = headerRoom(header) + Request.sizeOf(sealed.bytes.length, abi.macs.size)
    const request = new Request(abi.approve, room, addressOf)
    const message = placeMessage(request, sealed)
    const { fields, macs, lanes } = placeHeader(request, header)
    const bytes = request.fill(abi.Op.approve, {
      ...fields,
      message,
      handle,
      macs: macs?.address ?? 0n,
      successor: Buffer.from(successor, "hex"),
    })
    const status = await this.derive(bytes, lanes)
    const { outcome } = request.result()
    judge(status, { ...outcome, slots_changed: 0 })
    return outcome.slot
  }

  async yieldVolume(handle: VolumeHandle, { report, publicKey, nonce }: Successor): Promise<Uint8Array> {
    const request = new Request(abi.yieldKey, Request.sizeOf(sgx.report.size, abi.yielded.size), addressOf)
    const shown = request.place(report)
    const yielded = request.reserve(abi.yielded.size)
    this.enterNow(
      request.fill(abi.Op.yield, {
        handle,
        report: shown.address,
        yielded: yielded.address,
        public_key: publicKey,
        nonce,
      }),
    )
    return yielded.bytes.slice()
  }

  async takeOver(yielded: Uint8Array, header: Header): Promise<VolumeHandle> {
    const request = new Request(abi.takeOver, Request.sizeOf(yielded.length, abi.macs.size), addressOf)
    const given = request.place(yielded)
    const macs = header.macs === null ? null : request.place(encodeMacs(header.macs))
    const bytes = request.fill(abi.Op.take_over, {
      uuid: Buffer.from(header.uuid),
      segment: segmentFields(header.segment),
      digest: digestFields(header.digest),
      yielded: given.address,
      macs: macs?.address ?? 0n,
    })
    const status = await this.enter(bytes)
    const result = request.result()
    judge(status, { ...result, slots_changed: 0, seal_status: 0, needed_kib: 0 })
    return result.handle as VolumeHandle
  }

  async reencrypt(sealed: SealedRequest, pass: Pass): Promise<BegunPass> {
    const { previous, final, progress, resumed } = pass
    const rooms = keyed(pass).map(headerRoom)
    const room = rooms.reduce((sum, each) => sum + each, Request.sizeOf(sealed.bytes.length, abi.pass.size))
    const request = new Request(abi.reencrypt, room, addressOf)
    const message = placeMessage(request, sealed)
    const old = isPlain(previous) ? null : placeHeader(request, previous)
    const fresh = isPlain(final) ? null : placeHeader(request, final)
    const fixed = request.reserve(abi.pass.size)
    encode(abi.pass, passFields(pass), fixed.bytes)
    const bytes = request.fill(abi.Op.reencrypt, {
      message,
      pass: fixed.address,
      progress: progressFields(progress),
      verification: resumed === null ? freshDigestFields(VERIFICATION) : digestFields(resumed.verification),
      ...(resumed?.mac != null && { mac: resumed.mac }),
      old_keyslots: old?.fields.keyslots ?? 0n,
      new_keyslots: fresh?.fields.keyslots ?? 0n,
      old_macs: old?.macs?.address ?? 0n,
      new_macs: fresh?.macs?.address ?? 0n,
      old_count: old?.fields.count ?? 0,
      new_count: fresh?.fields.count ?? 0,
      start: resumed === null ? 1 : 0,
      vouched: resumed?.mac === null ? 1 : 0,
      use: abi.PassUse[pass.use],
    })
    const status = await this.derive(bytes, Math.max(old?.lanes ?? 0, fresh?.lanes ?? 0))
    const { changed, seal_status, needed_kib, handle, slot, verification, mac, ...slots } = request.result()
    judgePass(status, { changed, seal_status, needed_kib })
    return {
      handle: handle as VolumeHandle,
      slot,
      verification: resumed?.verification ?? madeDigest(VERIFICATION, verification),
      mac,
      facts: factsOf({ ...slots, segment_changed: 0 }),
    }
  }

  zone(handle: VolumeHandle, hot: bigint, probe: Uint8Array, last = false): Uint8Array {
    const request = new Request(abi.zone, 0, addressOf)
    this.enterNow(request.fill(abi.Op.zone, { handle, last: last ? 1 : 0, hot, probe }))
    return request.result().mac
  }

  async convert(handle: VolumeHandle, ranges: readonly Range[]): Promise<void> {
    const request = new Request(abi.convert, rangesRoom(ranges.length), addressOf)
    const table = placeRanges(request, ranges)
    const bytes = request.fill(abi.Op.convert, { handle, count: ranges.length, ranges: table.address })
    this.answered(await this.enter(bytes))
  }

  finish(handle: VolumeHandle): VolumeHandle {
    const request = new Request(abi.finish, 0, addressOf)
    this.enterNow(request.fill(abi.Op.finish, { handle }))
    return request.result().volume as VolumeHandle
  }

  async legacy({ uuid, mode, keySize, kdf, salt, secret }: Parameters<Enclave["legacy"]>[0]) {
    const message = secret instanceof Uint8Array ? null : secret
    const room = Request.sizeOf(SEALED_SIZE, SEALED_SIZE, message?.bytes.length ?? 0)
    const request = new Request(abi.legacy, room, addressOf)
    const sealedIn = "sealed" in salt ? request.place(salt.sealed) : null
    const sealedOut = request.reserve(SEALED_SIZE)
    try {
      const bytes = request.fill(abi.Op.legacy, {
        uuid: Buffer.from(uuid),
        ...("make" in salt ? { make: 1, policy: abi.SealPolicy[salt.make] } : {}),
        key_size: keySize,
        mode: abi.Mode[mode],
        kdf: kdfFields(kdf),
        sealed: sealedIn?.address ?? 0n,
        sealed_out: sealedOut.address,
        ...(secret instanceof Uint8Array
          ? { bytes: secret, bytes_size: secret.length }
          : { message: placeMessage(request, secret) }),
      })
      const status = await this.derive(bytes, mostLanes([kdf]))
      const { handle, seal_status } = request.result()
      const failed = statusName(status)
      if (failed !== null) throw new EnclaveError(failed, { seal: statusName(seal_status) })
      return { handle: handle as VolumeHandle, sealed: sealedOut.bytes.slice() }
    } finally {
      request.wipe()
    }
  }

  sectors(handle: VolumeHandle, decrypt: boolean, ranges: readonly Range[]): void {
    const request = new Request(abi.sectors, rangesRoom(ranges.length), addressOf)
    const table = placeRanges(request, ranges)
    this.enterNow(
      request.fill(abi.Op.sectors, {
        handle,
        decrypt: decrypt ? 1 : 0,
        count: ranges.length,
        ranges: table.address,
      }),
    )
  }

  fileSectors(handle: VolumeHandle, fd: number): FileSectors {
    return createSectors(this.native, handle, fd)
  }

  lend(handle: VolumeHandle, disk: NativeDisk): void {
    disk.setKey(this.native, handle)
  }

  blocks(blocks: readonly Block[]): void {
    const request = new Request(abi.blocks, blocksRoom(blocks.length), addressOf)
    const table = placeBlocks(request, blocks)
    this.enterNow(request.fill(abi.Op.blocks, { count: blocks.length, blocks: table.address }))
    blocks.forEach((block, index) => {
      const { iv, status } = placedBlock(table, index)
      this.answered(status)
      block.iv.set(iv)
    })
  }

  /** A lost or dead enclave has been wiped, keys and all. */
  closeVolume(handle: VolumeHandle): void {
    const request = new Request(abi.close, 0, addressOf)
    const status = this.native.enter(request.fill(abi.Op.close, { handle }))
    if (status !== LOST && status !== abi.Status.dead) this.answered(status)
  }
}

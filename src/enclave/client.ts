/**
 * `Enclave` over the addon: puts requests together, enters, takes the answers
 * apart. Nothing secret passes here but what is sealed to the enclave, and in
 * `legacy` the bytes dm-crypt handed down, which are wiped.
 */
import type { Backend } from "../abi/enclave.ts"
import * as abi from "../abi/enclave.ts"
import * as sgx from "../abi/sgx.ts"
import { decode, type Encodable, encode } from "../abi/struct.ts"
import type { Digest, Hash, Header, HeaderMacs, KeyslotParameters, MadeKeyslot, Segment } from "../luks2/types.ts"
import type { FileSectors } from "../native/addon.ts"
import { addressOf, createSectors, type NativeEnclave } from "../native/addon.ts"
import { EnclaveError, statusName } from "./error.ts"
import {
  decodeMacs,
  digestFields,
  encodeMacs,
  freshDigestFields,
  freshKeyslotFields,
  kdfFields,
  keyslotFields,
  publicHeader,
  SEALED_SIZE,
  segmentFields,
  slotsOf,
} from "./marshal.ts"
import { type Arena, Request } from "./request.ts"
import { contextFields } from "./seal-request.ts"
import { LOST, Session, usesArgon2 } from "./session.ts"
import type {
  Authenticated,
  Block,
  Enclave,
  HeaderFacts,
  Purpose,
  Range,
  SealedRequest,
  SealPolicy,
  Unlocked,
  VolumeHandle,
} from "./types.ts"

const areaSize = (keySize: number): number => Math.ceil((keySize * abi.Limit.stripes) / 512) * 512

/** Bytes that `placeHeader` takes. */
function headerRoom(header: Header): number {
  return Request.sizeOf(
    header.keyslots.length * abi.keyslot.size,
    ...header.keyslots.flatMap((slot) => [areaSize(slot.keySize), SEALED_SIZE]),
    abi.macs.size,
  )
}

function placeMessage(request: Arena, sealed: SealedRequest): Encodable<typeof abi.message> {
  const { address } = request.place(sealed.bytes)
  return { address, size: sealed.bytes.length, context: contextFields(sealed.context) }
}

/** Room for a keyslot to be made; what the request says of it, and how to read it back. */
function placeFresh(request: Arena, keyslot: KeyslotParameters) {
  const area = request.reserve(areaSize(keyslot.keySize))
  const sealed = keyslot.passphraseKdf === null ? null : request.reserve(SEALED_SIZE)
  const fields: Encodable<typeof abi.keyslot> = {
    ...freshKeyslotFields(keyslot),
    area: area.address,
    sealed: sealed?.address ?? 0n,
  }
  const made = (result: { readonly salt: Uint8Array; readonly salt_size: number }): MadeKeyslot => ({
    salt: result.salt.slice(0, result.salt_size),
    area: area.bytes.slice(),
    sealed: sealed?.bytes.slice() ?? null,
  })
  return { fields, made }
}

/** Keyslots and MACs of a header; what the request says of them. */
function placeHeader(request: Arena, header: Header) {
  const { size } = abi.keyslot
  const keyslots = request.reserve(header.keyslots.length * size)
  const shown = publicHeader(header).keyslots
  header.keyslots.forEach((slot, index) => {
    const fields: Encodable<typeof abi.keyslot> = {
      ...keyslotFields(shown[index]!),
      sealed: slot.sealed === null ? 0n : request.place(slot.sealed).address,
      area: slot.tried ? request.place(slot.area).address : 0n,
    }
    encode(abi.keyslot, fields, keyslots.bytes.subarray(index * size, (index + 1) * size))
  })
  return {
    fields: {
      segment: segmentFields(header.segment),
      digest: digestFields(header.digest),
      keyslots: keyslots.address,
      count: header.keyslots.length,
    },
    macs: header.macs === null ? null : request.place(encodeMacs(header.macs)),
    lanes: usesArgon2(header.keyslots.flatMap((slot) => (slot.tried ? [slot.kdf, slot.passphraseKdf] : []))),
  }
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
    this.answered(await this.derive(bytes, usesArgon2([keyslot.kdf, keyslot.passphraseKdf])))
    const { digest, keyslot: made } = request.result()
    return {
      digest: {
        hash,
        iterations,
        salt: digest.salt.slice(0, digest.salt_size),
        digest: digest.digest.slice(0, digest.digest_size),
      },
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
    const status = await this.derive(bytes, Math.max(lanes, usesArgon2([fresh.kdf, fresh.passphraseKdf])))
    const result = request.result()
    judge(status, result)
    return { keyslot: placed.made(result.fresh), macs: decodeMacs(macsOut.bytes), slot: result.slot }
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
      const status = await this.derive(bytes, usesArgon2([kdf]))
      const { handle, seal_status } = request.result()
      const failed = statusName(status)
      if (failed !== null) throw new EnclaveError(failed, { seal: statusName(seal_status) })
      return { handle: handle as VolumeHandle, sealed: sealedOut.bytes.slice() }
    } finally {
      request.wipe()
    }
  }

  sectors(handle: VolumeHandle, decrypt: boolean, ranges: readonly Range[]): void {
    const { size } = abi.range
    const request = new Request(abi.sectors, Request.sizeOf(ranges.length * size), addressOf)
    const table = request.reserve(ranges.length * size)
    ranges.forEach(({ input, output, sector }, index) => {
      const fields = { in: addressOf(input), out: addressOf(output), sector, length: input.length }
      encode(abi.range, fields, table.bytes.subarray(index * size, (index + 1) * size))
    })
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

  blocks(blocks: readonly Block[]): void {
    const { size } = abi.block
    const request = new Request(abi.blocks, Request.sizeOf(blocks.length * size), addressOf)
    const table = request.reserve(blocks.length * size)
    blocks.forEach((block, index) => {
      const fields = {
        in: addressOf(block.input),
        out: addressOf(block.output),
        length: block.input.length,
        handle: block.handle,
        mode: abi.Mode[block.mode],
        decrypt: block.decrypt ? 1 : 0,
        iv: block.iv,
      }
      encode(abi.block, fields, table.bytes.subarray(index * size, (index + 1) * size))
    })
    this.enterNow(request.fill(abi.Op.blocks, { count: blocks.length, blocks: table.address }))
    blocks.forEach((block, index) => {
      const { iv, status } = decode(abi.block, table.bytes.subarray(index * size, (index + 1) * size))
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

/** Throws what a status other than TRESOR_OK means, with what the enclave found. */
function judge(
  status: number,
  result: {
    readonly segment_changed: number
    readonly slots_changed: number
    readonly macs_missing: number
    readonly seal_status: number
    readonly needed_kib: number
  },
  added = 0,
  removed = 0,
): void {
  const failed = statusName(status)
  if (failed === null) return
  throw new EnclaveError(failed, {
    ...(failed === "header"
      ? {
          header: {
            ...factsOf({ ...result, slots_added: added, slots_removed: removed }),
            ...(result.macs_missing === 1 ? { macsMissing: true } : {}),
          },
        }
      : {}),
    seal: statusName(result.seal_status),
    neededKib: result.needed_kib,
  })
}

function factsOf(result: {
  readonly segment_changed: number
  readonly slots_changed: number
  readonly slots_added: number
  readonly slots_removed: number
}): HeaderFacts {
  return {
    segmentChanged: result.segment_changed !== 0,
    slotsChanged: slotsOf(result.slots_changed),
    slotsAdded: slotsOf(result.slots_added),
    slotsRemoved: slotsOf(result.slots_removed),
  }
}

/**
 * An enclave for tests: it keeps the rules of the real one (what a request may
 * be used for, which keyslots are tried, what the MACs cover) without its
 * cryptography. Keyslot areas are masked by a hash of passphrase and salt, so
 * a torn, stale or wiped one does not open.
 */
import { createHash, randomBytes } from "node:crypto"
import { sealedSalt } from "../abi/enclave.ts"
import { type Asked, bindingOf } from "../enclave/asked.ts"
import { EnclaveError, type StatusName } from "../enclave/error.ts"
import { isPlain, keyed } from "../enclave/marshal.ts"
import type {
  Authenticated,
  BegunPass,
  Enclave,
  EnclaveIdentity,
  Pass,
  PassProgress,
  Purpose,
  Range,
  SealedRequest,
  SealPolicy,
  Unlocked,
  VolumeHandle,
} from "../enclave/types.ts"
import type { Secrets } from "../keyslots/parts.ts"
import { STRIPES } from "../luks2/limits.ts"
import type {
  Digest,
  Header,
  HeaderMacs,
  Kdf,
  Keyslot,
  KeyslotParameters,
  MadeKeyslot,
  Segment,
} from "../luks2/types.ts"

const hash = (...parts: readonly (Uint8Array | string)[]): Uint8Array => {
  const state = createHash("sha256")
  for (const part of parts) state.update(part).update("\0")
  return new Uint8Array(state.digest())
}
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0
const text = (value: unknown) =>
  JSON.stringify(value, (_, each) =>
    typeof each === "bigint" ? String(each) : each instanceof Uint8Array ? Buffer.from(each).toString("hex") : each,
  )

/** As if encrypted: existing || fresh behind the length of the first. */
function pack(secrets: Secrets): Uint8Array {
  const existing = secrets.existing ?? new Uint8Array(0)
  const bytes = Buffer.concat([Buffer.alloc(4), existing, secrets.fresh ?? new Uint8Array(0)])
  bytes.writeUInt32LE(existing.length)
  return bytes
}

/** Where the fake keeps its own: the machine within the key request. */
const { checksum: CHECKSUM, key_request: MACHINE, isv_svn: ISV_SVN } = sealedSalt.offsets
const CHECKSUM_END = CHECKSUM + sealedSalt.fields.checksum

interface FakePass {
  readonly use: Pass["use"]
  /** `null`: plaintext. */
  readonly old: Uint8Array | null
  readonly fresh: Uint8Array | null
  readonly backward: boolean
  /** Bytes that a decryption with a shift converts last. */
  readonly moved: bigint | null
  position: bigint
  hot: bigint
  next: bigint
  readonly macOf: (state: PassProgress) => Uint8Array
}

const passChanged = () =>
  new EnclaveError("header", {
    header: { ...NO_FACTS, passChanged: true },
  })

const NO_FACTS = { segmentChanged: false, slotsChanged: [], slotsAdded: [], slotsRemoved: [] }

/** Encrypts and decrypts: each sector is masked by its place and the key. `at`: bytes, whole sectors of 512. */
export function fakeCipher(key: Uint8Array, at: number, bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(bytes.length)
  for (let from = 0; from < bytes.length; from += 512) {
    const mask = hash("sector", key, String(at + from))
    for (let n = from; n < Math.min(from + 512, bytes.length); n++) result[n] = bytes[n]! ^ mask[n % 32]!
  }
  return result
}

export interface FakeOptions {
  readonly machine?: string
  readonly isvSvn?: number
}

const alone = (): Promise<never> => Promise.reject(new EnclaveError("request"))

export class FakeEnclave implements Enclave {
  // The real image is asked what goes from one enclave to another: src/enclave/succession.test.ts, takeover.test.ts.
  readonly bequeath = alone
  readonly inherit = alone
  readonly approve = alone
  readonly yieldVolume = alone
  readonly takeOver = alone
  readonly alive = true
  readonly identity: EnclaveIdentity
  readonly #machine: string
  readonly #nonces = new Set<string>()
  readonly #handles = new Map<number, Uint8Array>()
  readonly #passes = new Map<number, FakePass>()
  #next = 1

  constructor({ machine = "this", isvSvn = 1 }: FakeOptions = {}) {
    this.#machine = machine
    this.identity = {
      backend: "software",
      mrenclave: "e".repeat(64),
      mrsigner: "5".repeat(64),
      isvProdId: 1,
      isvSvn,
      cpuSvn: "0".repeat(32),
      debug: false,
      xfrm: 7n,
      publicKey: new Uint8Array(32),
      aes: "aesni",
      kdfMemoryKib: 1 << 20,
      memory: { keys: "memfd_secret", stacks: "memfd_secret", heap: "memfd_secret" },
    }
  }

  /** What `TrustedEnclave.seal` is to the real one. */
  readonly seal = async (asked: Asked, secrets: Secrets): Promise<SealedRequest> => {
    const nonce = await this.challenge(asked.purpose)
    return { context: { ...(await bindingOf(asked)), nonce }, bytes: pack(secrets) }
  }

  /** Handles that were not closed. */
  get open(): number {
    return this.#handles.size
  }

  async challenge(purpose: Purpose): Promise<Uint8Array> {
    const nonce = new Uint8Array(randomBytes(32))
    this.#nonces.add(`${purpose} ${Buffer.from(nonce).toString("hex")}`)
    return nonce
  }

  async #secrets({ context, bytes }: SealedRequest, asked: Asked): Promise<Required<Secrets>> {
    const known = this.#nonces.delete(`${context.purpose} ${Buffer.from(context.nonce).toString("hex")}`)
    const ours = await bindingOf(asked)
    if (
      !known ||
      context.purpose !== asked.purpose ||
      context.uuid !== ours.uuid ||
      !same(context.request, ours.request)
    )
      throw new EnclaveError("message")
    if (ours.unsealed && !context.unsealed) throw new EnclaveError("request")
    const size = Buffer.from(bytes).readUInt32LE()
    return { existing: bytes.subarray(4, 4 + size), fresh: bytes.subarray(4 + size) }
  }

  #seal(slot: number, uuid: string): Uint8Array {
    const sealed = new Uint8Array(sealedSalt.size)
    sealed.set(new TextEncoder().encode("TRSRSEAL"))
    sealed.set(hash("seal", this.#machine, uuid, String(slot)), MACHINE)
    new DataView(sealed.buffer).setUint16(ISV_SVN, this.identity.isvSvn, true)
    sealed.set(hash(sealed), CHECKSUM)
    return sealed
  }

  #sealProblem({ sealed, slot }: Keyslot, uuid: string): StatusName | null {
    if (sealed === null) return null
    const plain = sealed.slice()
    plain.fill(0, CHECKSUM, CHECKSUM_END)
    if (!same(sealed.subarray(CHECKSUM, CHECKSUM_END), hash(plain))) return "seal_damaged"
    if (new DataView(plain.buffer).getUint16(ISV_SVN, true) > this.identity.isvSvn) return "seal_version"
    const ours = hash("seal", this.#machine, uuid, String(slot))
    return same(plain.subarray(MACHINE, MACHINE + 32), ours) ? null : "seal_machine"
  }

  #mask(secret: Uint8Array, salt: Uint8Array, sealed: Uint8Array | null, kdfs: readonly (Kdf | null)[]): Uint8Array {
    return hash("area", secret, salt, sealed ?? "", text(kdfs))
  }

  #make(parameters: KeyslotParameters, uuid: string, secret: Uint8Array, key: Uint8Array): MadeKeyslot {
    if (secret.length === 0) throw new EnclaveError("request")
    const salt = new Uint8Array(randomBytes(32))
    const sealed = parameters.passphraseKdf === null ? null : this.#seal(parameters.slot, uuid)
    const mask = this.#mask(secret, salt, sealed, [parameters.kdf, parameters.passphraseKdf])
    const area = new Uint8Array(parameters.keySize * STRIPES)
    for (let i = 0; i < area.length; i++) area[i] = mask[i % 32]! ^ key[i % 32]!
    return { salt, area, sealed }
  }

  #try(keyslot: Keyslot, digest: Digest, secret: Uint8Array): Uint8Array | null {
    const { area, salt, sealed, kdf, passphraseKdf } = keyslot
    const mask = this.#mask(secret, salt, sealed, [kdf, passphraseKdf])
    const key = mask.map((byte, i) => byte ^ area[i]!)
    for (let i = 0; i < keyslot.keySize * STRIPES; i++) if (area[i] !== (mask[i % 32]! ^ key[i % 32]!)) return null
    return same(hash("digest", key, digest.salt), digest.digest) ? key : null
  }

  #open(
    header: Header,
    wanted: number | null,
    secret: Uint8Array,
  ): { readonly key: Uint8Array; readonly slot: number } {
    let wrong = false
    let seal: StatusName | null = null
    const tried = header.keyslots.filter((each) => each.tried)
    if (tried.length === 0 || (wanted !== null && tried.some(({ slot }) => slot !== wanted)))
      throw new EnclaveError("request")
    for (const keyslot of tried) {
      const problem = this.#sealProblem(keyslot, header.uuid)
      if (problem !== null) {
        seal ??= problem
        continue
      }
      const key = this.#try(keyslot, header.digest, secret)
      if (key !== null) return { key, slot: keyslot.slot }
      wrong = true
    }
    throw wrong ? new EnclaveError("passphrase", { seal }) : new EnclaveError(seal!)
  }

  #macSegment(header: Pick<Header, "uuid" | "segment" | "digest">, key: Uint8Array): Uint8Array {
    return hash("segment", key, header.uuid, text([header.segment, header.digest]))
  }

  #macKeyslot(uuid: string, parameters: KeyslotParameters, salt: Uint8Array, key: Uint8Array): Uint8Array {
    const { slot, kdf, afHash, areaKeySize, keySize, areaOffset, areaSize, passphraseKdf } = parameters
    return hash(
      "keyslot",
      key,
      uuid,
      salt,
      text([slot, kdf, afHash, areaKeySize, keySize, areaOffset, areaSize, passphraseKdf]),
    )
  }

  #macs(header: Header, key: Uint8Array): HeaderMacs {
    return {
      segment: this.#macSegment(header, key),
      keyslots: new Map(
        header.keyslots.map((each) => [each.slot, this.#macKeyslot(header.uuid, each, each.salt, key)]),
      ),
    }
  }

  #compare(header: Header, key: Uint8Array): Omit<Unlocked, "handle" | "slot" | "resealed"> {
    const ours = this.#macs(header, key)
    const theirs = header.macs ?? ours
    const present = header.keyslots.map(({ slot }) => slot)
    const facts = {
      segmentChanged: !same(ours.segment, theirs.segment),
      slotsChanged: present.filter(
        (slot) => theirs.keyslots.has(slot) && !same(theirs.keyslots.get(slot)!, ours.keyslots.get(slot)!),
      ),
      slotsAdded: present.filter((slot) => !theirs.keyslots.has(slot)),
      slotsRemoved: [...theirs.keyslots.keys()].filter((slot) => !present.includes(slot)),
    }
    return facts
  }

  async create(
    sealed: SealedRequest,
    header: { readonly uuid: string; readonly segment: Segment; readonly digest: Pick<Digest, "hash" | "iterations"> },
    keyslot: KeyslotParameters,
    policy: SealPolicy,
  ) {
    const { fresh } = await this.#secrets(sealed, { purpose: "create", ...header, fresh: keyslot, policy })
    if (sealed.context.freshSlot !== keyslot.slot || sealed.context.slot !== null) throw new EnclaveError("request")
    const key = new Uint8Array(randomBytes(32))
    const salt = new Uint8Array(randomBytes(32))
    const digest = { ...header.digest, salt, digest: hash("digest", key, salt) }
    const made = this.#make(keyslot, header.uuid, fresh, key)
    const macs: HeaderMacs = {
      segment: this.#macSegment({ ...header, digest }, key),
      keyslots: new Map([[keyslot.slot, this.#macKeyslot(header.uuid, keyslot, made.salt, key)]]),
    }
    return { digest, keyslot: made, macs }
  }

  /** A seal is made with MACs: a header without them lost them. */
  #macsMissing(header: Header, opened: number): boolean {
    return header.macs === null && header.keyslots.some(({ slot, sealed }) => slot === opened && sealed !== null)
  }

  async unlock(sealed: SealedRequest, header: Header): Promise<Unlocked> {
    const wanted = sealed.context.slot
    const { existing } = await this.#secrets(sealed, { purpose: "unlock", header, slot: wanted })
    const { key, slot } = this.#open(header, wanted, existing)
    const facts = this.#compare(header, key)
    if (this.#macsMissing(header, slot)) throw new EnclaveError("header", { header: { ...facts, macsMissing: true } })
    if (facts.segmentChanged) throw new EnclaveError("header", { header: facts })
    const handle = this.#next++ as VolumeHandle
    this.#handles.set(handle, key)
    return { ...facts, handle, slot, resealed: null }
  }

  async authenticate(sealed: SealedRequest, header: Header): Promise<Authenticated> {
    const wanted = sealed.context.slot
    const { existing } = await this.#secrets(sealed, { purpose: "authenticate", header, slot: wanted })
    const { key, slot } = this.#open(header, wanted, existing)
    return { macs: this.#macs(header, key), macsMissing: this.#macsMissing(header, slot) }
  }

  async enrol(sealed: SealedRequest, header: Header, fresh: KeyslotParameters, policy: SealPolicy) {
    const asked = { purpose: "enrol", header, slot: sealed.context.slot, fresh, policy } as const
    const secrets = await this.#secrets(sealed, asked)
    if (sealed.context.freshSlot !== fresh.slot || header.keyslots.some(({ slot }) => slot === fresh.slot)) {
      throw new EnclaveError("request")
    }
    const { key, slot } = this.#open(header, sealed.context.slot, secrets.existing)
    const facts = this.#compare(header, key)
    if (facts.segmentChanged || this.#macsMissing(header, slot)) throw new EnclaveError("header", { header: facts })
    const keyslot = this.#make(fresh, header.uuid, secrets.fresh, key)
    const before = header.macs ?? this.#macs(header, key)
    const mac = this.#macKeyslot(header.uuid, fresh, keyslot.salt, key)
    return { keyslot, slot, macs: { ...before, keyslots: new Map([...before.keyslots, [fresh.slot, mac]]) } }
  }

  async reencrypt(sealed: SealedRequest, pass: Pass): Promise<BegunPass> {
    const { previous, final, moved, progress, resumed } = pass
    const { existing } = await this.#secrets(sealed, { purpose: "reencrypt", pass })
    let opened = 0
    const sides = [previous, final].map((header) => {
      if (isPlain(header)) return null
      const { key, slot } = this.#open(header, null, existing)
      opened = slot
      if (this.#compare(header, key).segmentChanged || this.#macsMissing(header, slot)) throw new EnclaveError("header")
      return key
    })
    const [old, fresh] = [sides[0]!, sides[1]!]
    if (old !== null && fresh !== null && same(old, fresh)) throw new EnclaveError("unsupported")
    const shown = [previous, final].map((side) => (isPlain(side) ? side : side.segment))
    const fixed = hash("pass", old ?? "", fresh ?? "", keyed(pass)[0]!.uuid, text([shown, moved, pass.area]))
    const salt = resumed?.verification.salt ?? new Uint8Array(randomBytes(32))
    const verification: Digest = { hash: "sha256", iterations: 1000, salt, digest: hash("verification", fixed, salt) }
    const macOf = (state: PassProgress) => hash("state", fixed, text(state))
    const mac = macOf(progress)
    if (resumed !== null && !same(resumed.verification.digest, verification.digest)) throw passChanged()
    if (resumed !== null && resumed.mac !== null && !same(resumed.mac, mac)) throw passChanged()
    const handle = this.#next++ as VolumeHandle
    this.#handles.set(handle, fresh ?? old!)
    const { position, hot } = progress
    const backward = (fresh === null) !== (moved !== null)
    const next = backward ? position - hot : position
    const last = fresh === null && moved !== null ? moved.size : null
    this.#passes.set(handle, { use: pass.use, old, fresh, backward, moved: last, position, hot, next, macOf })
    const facts = isPlain(final) ? NO_FACTS : this.#compare(final, fresh!)
    return { handle, slot: opened, verification, mac, facts }
  }

  zone(handle: VolumeHandle, hot: bigint, probe: Uint8Array, last = false): Uint8Array {
    const pass = this.#passes.get(handle)
    if (pass === undefined) throw new EnclaveError("handle")
    if (hot !== 0n && (pass.hot !== 0n || pass.use === "serve")) throw new EnclaveError("request")
    if (last && hot !== pass.moved) throw new EnclaveError("request")
    pass.position = last ? 0n : pass.position + (pass.backward ? -pass.hot : pass.hot)
    pass.hot = hot
    pass.next = pass.backward ? pass.position - hot : pass.position
    if (pass.next < 0n) throw new EnclaveError("request")
    return pass.macOf({ position: pass.position, hot, probe })
  }

  async convert(handle: VolumeHandle, ranges: readonly Range[]): Promise<void> {
    const pass = this.#passes.get(handle)
    if (pass === undefined) throw new EnclaveError("handle")
    for (const { input, output, sector } of ranges) {
      const at = sector * 512n
      const end = at + BigInt(input.length)
      if (at < pass.next || end > (pass.backward ? pass.position : pass.position + pass.hot))
        throw new EnclaveError("request")
      pass.next = end
      const plain = pass.old === null ? input : fakeCipher(pass.old, Number(at), input)
      output.set(pass.fresh === null ? plain : fakeCipher(pass.fresh, Number(at), plain))
    }
  }

  finish(handle: VolumeHandle): VolumeHandle {
    const pass = this.#passes.get(handle)
    if (pass === undefined) throw new EnclaveError("handle")
    if (pass.use === "convert" || pass.hot !== 0n) throw new EnclaveError("request")
    const volume = this.#next++ as VolumeHandle
    this.#handles.set(volume, pass.fresh!)
    return volume
  }

  /** The key behind a handle. */
  keyOf(handle: VolumeHandle): Uint8Array {
    return this.#handles.get(handle)!
  }

  closeVolume(handle: VolumeHandle): void {
    this.#passes.delete(handle)
    if (!this.#handles.delete(handle)) throw new EnclaveError("handle")
  }

  async close(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
  report = unused
  legacy = unused

  /** A pass's key is by where a sector lies; a range in the hot zone is refused. */
  sectors(handle: VolumeHandle, _decrypt: boolean, ranges: readonly Range[]): void {
    const key = this.#handles.get(handle)
    if (key === undefined) throw new EnclaveError("handle")
    const pass = this.#passes.get(handle)
    if (pass?.use === "convert") throw new EnclaveError("request")
    for (const { input, output, sector } of ranges) {
      const [at, end] = [Number(sector) * 512, Number(sector) * 512 + input.length]
      const position = pass === undefined ? end : Number(pass.position)
      const hot = pass === undefined ? 0 : Number(pass.hot)
      if (hot > 0 && at < position + hot && end > position) throw new EnclaveError("request")
      const fresh = Math.min(Math.max(position - at, 0), input.length)
      output.set(fakeCipher(key, at, input.subarray(0, fresh)))
      if (fresh < input.length) output.set(fakeCipher(pass!.old!, at + fresh, input.subarray(fresh)), fresh)
    }
  }
  blocks = unused
}

function unused(): never {
  throw new Error("not part of this fake")
}

/**
 * The reencryption of the volume that is served: which keys open it, the pass beside its requests, and where it is.
 */
import { setTimeout as delay } from "node:timers/promises"
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"
import type { VolumeInput, VolumeStatus } from "../control/volume.ts"
import { admitted, bindingOf } from "../enclave/asked.ts"
import { EnclaveError } from "../enclave/error.ts"
import { encodePass, publicHeader } from "../enclave/marshal.ts"
import type { Enclave, Pass as PassRequest, SealedRequest } from "../enclave/types.ts"
import type { OpenHeader } from "../header/access.ts"
import type { HeaderStore } from "../header/header-store.ts"
import { judgeSlots, type OpenedKey } from "../keyslots/unlock.ts"
import { reencryptionOf } from "../luks2/reencryption.ts"
import { positionOf } from "../luks2/reencryption-position.ts"
import type { Header, Segment } from "../luks2/types.ts"
import { convertInUse, endUse, type InUse, prepareUse } from "../reencrypt/in-use.ts"
import { bothKeys, describePass, enterPass, needsWriting } from "../reencrypt/resume.ts"
import { type Pass, type PassPlace, placesOf, volumeSize } from "../reencrypt/run.ts"
import { probeAt } from "../reencrypt/zones.ts"
import { lockReencryption } from "../store/header-lock.ts"
import { paceOf } from "./pace.ts"
import { headerRaced } from "./raced.ts"

export interface ReencryptionParts {
  readonly name: string
  readonly path: string
  readonly header: Pick<OpenHeader, "use">
  readonly volume: InUse & { readonly readOnly: boolean }
  /** Requests of users, ever. */
  readonly requests: () => number
  readonly warn: (message: string, facts: Record<string, unknown>) => void
}

type Status = NonNullable<VolumeStatus["reencryption"]>

/** A pass that is in use, without the store that its header is read and written by. */
type Served = Omit<Pass, "store">

/** What the volume has its keys from; all is of the new key. */
export interface Entered extends OpenedKey {
  readonly segment: Segment
}

/** Who has the volume. */
export interface User {
  /** Gives the volume the keys of the pass. */
  readonly unlock: (opened: Entered) => Promise<void>
  /** The same at the end; `take` leaves the new key alone, and throws when a lock was first. */
  readonly finish: (take: () => Entered) => Promise<void>
}

/** How a client enters a reencryption. */
interface Entry {
  readonly enclave: Enclave
  readonly request: VolumeInput<"Reencrypt">
  readonly user: User
  /** The volume has its keys; called where `#enter` goes on after that. */
  readonly onEntered: () => void
  /** Ends the pass at the end of a zone. */
  readonly signal: AbortSignal
}

interface Conversion extends Pick<Entry, "request" | "signal"> {
  /** After the last zone. */
  readonly finish: () => Promise<void>
}

const PAUSED = { state: "paused", error: null } as const

export class Reencryption {
  readonly #parts: ReencryptionParts
  readonly #listeners = new Set<() => void>()
  #status: Status | null = null
  /** What the volume has its keys from. */
  #served: Served | null = null
  #run: { readonly abort: AbortController; readonly ended: Promise<void> } | null = null

  constructor(parts: ReencryptionParts) {
    this.#parts = parts
  }

  /** `null`: none is pending. */
  get status(): Status | null {
    return this.#status
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #become(status: Status | null): void {
    const told = status?.state !== this.#status?.state
    this.#status = status
    if (told) for (const listener of [...this.#listeners]) listener()
  }

  #place(store: HeaderStore): PassPlace {
    const { volume, path } = this.#parts
    return { store, data: volume.ciphertext, path }
  }

  /** Reads the header; at the start of a volume whose reencryption is pending. */
  look(): Promise<void> {
    return this.#parts.header.use(async ({ header: { metadata } }) => {
      const pending = reencryptionOf(metadata)
      const where = pending === null ? "none" : positionOf(metadata, pending)
      if (pending === null || typeof where === "string") return
      const total = volumeSize(this.#parts.volume.ciphertext, pending)
      this.#become({ ...PAUSED, done: Number(where.position), total })
    })
  }

  /** The public parameters of a request for it. Throws as describePass. */
  describe(vouched: boolean): Promise<Uint8Array> {
    return this.#parts.header.use(async (store) => {
      const { pass } = await describePass(this.#place(store), vouched)
      const keys = bothKeys(pass, this.#parts.path)
      const [previous, final] = [publicHeader(keys.previous), publicHeader(keys.final)]
      return encodePass({ ...pass, previous, final, hasMac: pass.resumed?.mac != null })
    })
  }

  /**
   * Gives the volume its keys; resolves when it has them. `goOn`: the pass goes on after that. Throws
   * REENCRYPT_BUSY (exit 5), HEADER_RACED, REENCRYPT_PENDING (exit 4), and as describePass and the enclave decide.
   */
  enter(enclave: Enclave, request: VolumeInput<"Reencrypt">, user: User): Promise<void> {
    const { name } = this.#parts
    if (this.#run !== null) {
      throw new TresorError(
        "REENCRYPT_BUSY",
        Exit.busy,
        `Cannot reencrypt ${name}: its reencryption runs already; \`tresor reencrypt --pause ${name}\` pauses it`,
      )
    }
    const abort = new AbortController()
    return new Promise((resolve, reject) => {
      const ended = this.#parts.header
        .use((store) => this.#enter(store, { enclave, request, user, onEntered: resolve, signal: abort.signal }))
        .then(resolve, reject)
        .finally(() => {
          this.#run = null
        })
      this.#run = { abort, ended }
    })
  }

  async #enter(store: HeaderStore, { enclave, request, user, onEntered, signal }: Entry): Promise<void> {
    const { name, path, volume, warn } = this.#parts
    const free = volume.readOnly ? async () => {} : await lockReencryption(store.header.uuid, path)
    try {
      const { pass, ...described } = await describePass(this.#place(store), request.vouched)
      const { total } = described
      if (volume.readOnly && (request.goOn || pass.progress.hot > 0n)) throw needsWriting(path)
      const { sealed, pass: asked } = await this.#asked(pass, request)
      const { handle, slot, facts } = await enterPass({ enclave, path }, asked, sealed)
      const entered: Pass = { ...this.#place(store), ...described, enclave, handle }
      const { final } = bothKeys(pass, path)
      let opened: Entered
      let position: number
      try {
        const authenticated = judgeSlots({ name, path, warn }, final, facts)
        opened = { ...facts, handle, slot, authenticated, resealed: null, segment: final.segment }
        position = volume.readOnly ? Number(pass.progress.position) : await prepareUse(entered)
        await user.unlock(opened)
      } catch (error) {
        if (enclave.alive) enclave.closeVolume(handle)
        throw error
      }
      this.#served = entered
      const finish = () => this.#finish(enclave, opened, user)
      if (position === total) {
        onEntered()
        await finish()
        return
      }
      this.#become({ ...PAUSED, done: position, total })
      if (!request.goOn) return
      this.#become({ state: "running", error: null, done: position, total })
      onEntered()
      await this.#convert(entered, position, { request, signal, finish })
    } finally {
      await free()
    }
  }

  /** The request that its client sealed. Throws HEADER_RACED (exit 4) for any other. */
  async #asked(
    pass: Omit<PassRequest, "use">,
    { uuid, unsealed, goOn, nonce, request, message }: VolumeInput<"Reencrypt">,
  ): Promise<{ readonly sealed: SealedRequest; readonly pass: PassRequest }> {
    const tried = (header: Header): Header => ({
      ...header,
      keyslots: admitted(header.keyslots, { slot: null, unsealed }),
    })
    const { previous, final } = bothKeys(pass, this.#parts.path)
    const asked: PassRequest = {
      ...pass,
      previous: tried(previous),
      final: tried(final),
      use: goOn ? "both" : "serve",
    }
    const binding = { ...(await bindingOf({ purpose: "reencrypt", pass: asked })), uuid }
    if (Buffer.compare(binding.request, request) !== 0) throw headerRaced(this.#parts.name)
    return { pass: asked, sealed: { context: { ...binding, nonce }, bytes: message } }
  }

  /** The volume goes on with the new key, and the old one is wiped with the pass. */
  async #finish(enclave: Enclave, opened: Entered, user: User): Promise<void> {
    const { warn, name } = this.#parts
    this.#served = null
    try {
      await user.finish(() => ({ ...opened, handle: enclave.finish(opened.handle) }))
    } catch (error) {
      // A lock was first.
      const gone = !enclave.alive || (error instanceof EnclaveError && error.status === "handle")
      if (!gone) warn("the old volume key stays until a lock", { name, reason: (error as Error).message })
    }
    this.#become(null)
  }

  /** Never rejects: how it ended is the status. */
  async #convert(pass: Pass, position: number, { request, signal, finish }: Conversion): Promise<void> {
    const { hotZone, throttle } = request
    const { name, volume, requests, warn } = this.#parts
    const { total } = pass
    let at = position
    const wait = (ms: number) => delay(ms, undefined, { signal }).catch(() => {})
    const pace = paceOf({ throttle, requests, now: () => performance.now(), wait })
    try {
      const { done, dropped } = await convertInUse(pass, position, volume, {
        hotZone,
        signal,
        pace: async (done) => {
          at = done
          this.#become({ state: "running", error: null, done, total })
          await pace(done)
        },
      })
      if (done) warn("the reencryption is done", { name, keyslotsDropped: [...dropped] })
      if (done) await finish()
      else this.#become({ ...PAUSED, done: at, total })
    } catch (error) {
      const reason = (error as Error).message
      if (!(error instanceof IoError) && !(error instanceof TresorError)) throw error
      warn("the reencryption stopped", { name, reason })
      this.#become({ state: "stopped", done: at, total, error: reason })
    }
  }

  /** Resolves when nothing of it runs, at the end of its zone; or after so long, where a disk hangs. */
  async pause(ms = Number.POSITIVE_INFINITY): Promise<void> {
    const run = this.#run
    if (run === null) return
    run.abort.abort()
    const late = new AbortController()
    const limit = Number.isFinite(ms) ? [delay(ms, undefined, { signal: late.signal }).catch(() => {})] : []
    await Promise.race([run.ended, ...limit])
    late.abort()
  }

  /** Before the keys are wiped and after the last request: the header is bound to the data again. */
  async leave(): Promise<void> {
    const served = this.#served
    const { volume, warn, name } = this.#parts
    if (served === null || this.#status?.state !== "paused" || volume.readOnly || !served.enclave.alive) return
    try {
      await volume.ciphertext.flush()
      await this.#parts.header.use(async (store) => {
        const { reencryption, total } = served
        const probed = { data: served.data, total, ...placesOf(reencryption) }
        await endUse({ ...served, store }, await probeAt(probed, this.#status!.done))
      })
    } catch (error) {
      // It can go on without.
      warn("the header of the reencryption was not bound to the data", { name, reason: (error as Error).message })
    }
  }
}

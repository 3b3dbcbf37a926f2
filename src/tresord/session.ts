/**
 * One volume from start to close: its enclave, its header, its plaintext side
 * and its NBD service. Starts locked. A lost enclave is replaced when the next
 * passphrase is asked for.
 */

import { Exit, TresorError } from "../base/errors.ts"
import { serial } from "../base/serial.ts"
import type { Export } from "../control/daemon-options.ts"
import type { VolumeInput, VolumeStatus } from "../control/volume.ts"
import { bindingOf } from "../enclave/asked.ts"
import { encodePublicHeader, publicHeader } from "../enclave/marshal.ts"
import type { Enclave, Purpose, SealedRequest, VolumeHandle } from "../enclave/types.ts"
import { nameClients } from "../export/clients.ts"
import { type OpenedKey, saveResealed, unlockKey, withAdmitted } from "../keyslots/unlock.ts"
import type { Header } from "../luks2/types.ts"
import { headerRaced } from "./raced.ts"
import type { Entered, Reencryption } from "./reencryption.ts"
import type { Challenge, DaemonVolume, Predecessor, Report } from "./service.ts"
import type { SessionParts } from "./session-parts.ts"
import { countersOf, statusOf } from "./session-status.ts"
import { INHERITED_POLICY, predecessorsOf, type SealedBefore, Succession } from "./succession.ts"
import { takeoverFailed } from "./takeover/messages.ts"
import { type Successor, type Whereabouts, yieldVolume } from "./takeover/predecessor.ts"

export class Session implements DaemonVolume {
  readonly #parts: SessionParts
  readonly #since: string
  #enclave: Enclave
  #unlocked: OpenedKey | null
  /** By what it was unlocked last, in a reencryption the new key's; `null`: not yet. */
  #opened: Pick<Entered, "slot" | "segment"> | null
  /** What the last challenge showed: the request it is for is about that header. */
  #shown: { readonly nonce: Uint8Array; readonly header: Header } | null = null
  readonly #succession = new Succession()
  /** Unlocks one after the other: two at once would each wipe the other's handle. */
  readonly #queue = serial()
  #closed: Promise<void> | null = null
  /** While another tresord takes it over; resolves with whether it has. */
  #upgrading: Promise<boolean> | null = null

  constructor(parts: SessionParts) {
    this.#parts = parts
    this.#enclave = parts.enclave
    this.#since = parts.resumed?.since ?? new Date().toISOString()
    this.#unlocked = parts.resumed?.opened ?? null
    this.#opened = this.#unlocked === null ? null : { slot: this.#unlocked.slot, segment: parts.segment }
  }

  counters(): Record<string, number> {
    return countersOf(this.#parts)
  }

  status(): VolumeStatus {
    this.#enclave.probe?.()
    this.#parts.volume.lost?.()
    return statusOf(this.#parts, {
      since: this.#since,
      enclave: this.#enclave,
      facts: this.#unlocked,
      opened: this.#opened,
    })
  }

  #reencrypts(): Reencryption {
    const { reencryption, name } = this.#parts
    if (reencryption != null) return reencryption
    throw new TresorError(
      "REENCRYPT_UNFIT",
      Exit.badArguments,
      `Cannot reencrypt ${name} while it is open: the kernel reads and writes its ciphertext; close it first`,
    )
  }

  async challenge(purpose: Purpose, predecessor: string | null, vouched = false): Promise<Challenge> {
    if (purpose === "reencrypt") {
      const parameters = await this.#reencrypts().describe(vouched)
      const { answer: nonce, enclave } = await this.#ask(null, (each) => each.challenge(purpose))
      return { nonce, parameters, enclave }
    }
    if (purpose === "legacy") throw onlyUnlocks(this.#parts.name)
    if ((purpose === "succeed") !== (predecessor !== null)) throw notOfPredecessor(this.#parts.name)
    const header = await this.#parts.header.read().catch(async (error: unknown) => {
      // A reencryption may have been begun that nobody told us of, since the command for it was killed.
      await this.#parts.reencryption?.look()
      throw error
    })
    const { answer: nonce, enclave } = await this.#ask(predecessor, (enclave) => enclave.challenge(purpose))
    this.#shown = { nonce, header }
    return { nonce, parameters: encodePublicHeader(publicHeader(header)), enclave }
  }

  /**
   * The answer, and whose it is: the predecessor's where one is named; else the enclave's, or that of a new one when
   * this is the first to find it lost, as after a suspend without I/O.
   */
  async #ask<T>(predecessor: string | null, ask: (enclave: Enclave) => Promise<T>) {
    const of = async (enclave: Enclave) => ({ answer: await ask(enclave), enclave: enclave.identity })
    if (predecessor !== null) return of(await this.#predecessor(predecessor))
    const enclave = await this.#liveEnclave()
    try {
      return await of(enclave)
    } catch (error) {
      if (enclave.alive) throw error
      return of(await this.#liveEnclave())
    }
  }

  #predecessor(mrenclave: string): Promise<Enclave> {
    return this.#queue(async () => {
      if (this.#closed !== null) throw closing(this.#parts.name)
      return this.#succession.start(this.#parts.name, mrenclave, await this.#sealedBefore())
    })
  }

  async #sealedBefore(): Promise<readonly SealedBefore[]> {
    return predecessorsOf(await this.#parts.header.read(), this.#enclave.identity, this.#parts.kept)
  }

  async predecessors(): Promise<readonly Predecessor[]> {
    return (await this.#sealedBefore()).map((each) => ({ ...each, kept: each.kept !== null }))
  }

  /** The header the client was shown with this nonce; read again when another challenge came in between. */
  async #headerFor(nonce: Uint8Array): Promise<Header> {
    const shown = this.#shown
    if (shown === null || Buffer.compare(shown.nonce, nonce) !== 0) return this.#parts.header.read()
    this.#shown = null
    return shown.header
  }

  async report(targetInfo: Uint8Array, nonce: Uint8Array, predecessor: string | null): Promise<Report> {
    const { answer, enclave } = await this.#ask(predecessor, (enclave) => enclave.report(targetInfo, nonce))
    return { report: answer, enclave }
  }

  async succeed(request: VolumeInput<"Succeed">): Promise<number> {
    const { predecessor, slot, downgrade, nonce, message } = request
    const successor = await this.#liveEnclave()
    await this.#predecessor(predecessor)
    return this.#queue(async () => {
      const { header: access, name, path, warn } = this.#parts
      const header = await this.#headerFor(nonce)
      // Of the sealed keyslots alone: others have nothing to hand over.
      const tried = withAdmitted({ enclave: successor, access, name, path, warn }, header, { slot, unsealed: false })
      const binding = await bindingOf({
        purpose: "succeed",
        header: tried,
        slot,
        successor: successor.identity.mrenclave,
        policy: INHERITED_POLICY,
        downgrade,
      })
      if (Buffer.compare(binding.request, request.request) !== 0) throw headerRaced(name)
      const handed = await this.#succession.succeed(
        { context: { ...binding, nonce }, bytes: message },
        tried,
        successor,
      )
      await this.#succession.end()
      return handed
    })
  }

  /** The enclave, or a new one when it was lost; callers come through `#queue` or only ask. */
  #liveEnclave(): Promise<Enclave> {
    return this.#queue(async () => {
      if (this.#closed !== null) throw closing(this.#parts.name)
      if (!this.#enclave.alive) {
        const lost = this.#enclave
        this.#parts.volume.lost?.()
        this.#enclave = await this.#parts.openEnclave()
        await lost.close().catch(() => {})
      }
      return this.#enclave
    })
  }

  async unlock(request: VolumeInput<"Unlock">): Promise<void> {
    const { uuid, slot, unsealed, nonce, message } = request
    await this.#here()
    const enclave = await this.#liveEnclave()
    await this.#queue(async () => {
      const { header: access, volume, warn } = this.#parts
      const header = await this.#headerFor(nonce)
      const unlocking = { enclave, access, name: this.#parts.name, path: this.#parts.path, warn }
      const tried = this.#succession.withInherited(withAdmitted(unlocking, header, { slot, unsealed }))
      const binding = { ...(await bindingOf({ purpose: "unlock", header: tried, slot })), uuid }
      if (Buffer.compare(binding.request, request.request) !== 0) throw headerRaced(this.#parts.name)
      const sealed: SealedRequest = { context: { ...binding, nonce }, bytes: message }
      const opened = await unlockKey(unlocking, tried, sealed)
      try {
        await volume.unlock(enclave, opened.handle)
      } catch (error) {
        // Closing has begun meanwhile: nobody else would wipe this handle.
        wipe(enclave, opened.handle)
        throw error
      }
      this.#unlocked = opened
      this.#opened = { slot: opened.slot, segment: tried.segment }
      const inherited = volume.readOnly ? null : this.#succession.take(opened.slot)
      if (!volume.readOnly) await saveResealed(unlocking, { ...opened, resealed: opened.resealed ?? inherited })
    })
  }

  /** As Unlock, by both keys. */
  async reencrypt(request: VolumeInput<"Reencrypt">): Promise<void> {
    await this.#here()
    const enclave = await this.#liveEnclave()
    await this.#queue(async () => {
      const { volume } = this.#parts
      const unlock = async (opened: Entered, key: OpenedKey | null) => {
        await volume.unlock(enclave, opened.handle)
        this.#unlocked = key
        this.#opened = opened
      }
      await this.#reencrypts().enter(enclave, request, {
        // What a passphrase proves, and what can be yielded, is one key.
        unlock: (opened) => unlock(opened, null),
        finish: (take) =>
          this.#queue(async () => {
            const opened = take()
            await unlock(opened, opened).catch((error: unknown) => {
              wipe(enclave, opened.handle)
              throw error
            })
          }),
      })
    })
  }

  /** Resolves when a reencryption that ran is at the end of its zone. */
  async pause(): Promise<void> {
    await this.#reencrypts().pause()
  }

  /**
   * In any state: afterwards no key is held. An enclave that does not wipe one key, whatever the reason, is
   * destroyed with all of them; the next passphrase starts another.
   */
  async lock(): Promise<void> {
    await this.#here()
    const { volume, warn, reencryption } = this.#parts
    await reencryption?.pause(PAUSE_MS)
    try {
      await volume.lock()
    } catch (error) {
      await this.#enclave.close()
      warn("the enclave did not wipe its key and was destroyed", { reason: (error as Error).message })
      await volume.lock()
    }
    if (!this.#enclave.alive) await this.#enclave.close()
  }

  async lockIfRemoved(): Promise<boolean> {
    const { path, held = [], volume, warn } = this.#parts
    if (!held.some((each) => each.path === path && each.removed)) return false
    await this.lock()
    volume.fail?.()
    warn("the device with the data was removed", { path })
    return true
  }

  async resize(): Promise<number> {
    await this.#here()
    const size = await this.#parts.volume.resize()
    this.#parts.resized?.()
    return size
  }

  /** Waits for the end of a takeover; rejects with VOLUME_UPGRADED (exit 4) when another tresord has the volume then. */
  async #here(): Promise<void> {
    if (this.#upgrading !== null && (await this.#upgrading)) throw upgraded(this.#parts.name)
  }

  async approve({ slot, unsealed, successor, nonce, request, message }: VolumeInput<"Approve">): Promise<number> {
    await this.#here()
    const enclave = await this.#liveEnclave()
    return this.#queue(async () => {
      const { header: access, name, path, warn, volume } = this.#parts
      const opened = this.#unlocked
      if (volume.state !== "ready" || opened === null) throw locked(name)
      const header = await this.#headerFor(nonce)
      const tried = withAdmitted({ enclave, access, name, path, warn }, header, { slot, unsealed })
      const binding = await bindingOf({ purpose: "approve", header: tried, slot, successor })
      if (Buffer.compare(binding.request, request) !== 0) throw headerRaced(name)
      return enclave.approve({ context: { ...binding, nonce }, bytes: message }, tried, opened.handle, successor)
    })
  }

  /**
   * Starts `program` and gives the volume to it (takeover/predecessor.ts), which rejects when this session serves on, as with
   * UPGRADE_UNSUPPORTED and VOLUME_LOCKED (exit 1, 2). Once it has resolved, the keys are wiped and the process is to end.
   */
  async upgrade(program: readonly string[], whereabouts: Whereabouts): Promise<Successor> {
    await this.#here()
    const { name, yielded, header, held = [], options, export: kind, reencryption, lease = null } = this.#parts
    if (yielded === undefined || options === undefined) throw unsupported(name, `it is exported by --${kind}`)
    if ((reencryption?.status ?? null) !== null) throw unsupported(name, "a reencryption is not at its end")
    if (lease !== null && lease.status.state !== "held") {
      throw takeoverFailed(name, `the lease on its store is ${lease.status.state}`)
    }
    const upgrade = this.#queue(async () => {
      if (this.#closed !== null) throw closing(name)
      const opened = this.#unlocked
      if (this.#parts.volume.state !== "ready" || opened === null || !this.#enclave.alive) throw locked(name)
      const { uuid } = header
      const [enclave, since] = [this.#enclave, this.#since]
      const leaseOwner = lease?.status.owner ?? null
      const { segment } = this.#opened ?? this.#parts
      const yielding = { yielded, options, uuid, segment, held, enclave, opened, since, leaseOwner, whereabouts }
      return yieldVolume(program, yielding)
    })
    this.#upgrading = upgrade.then(
      () => true,
      () => false,
    )
    try {
      const successor = await upgrade
      await lease?.leave()
      // The end of the process wipes what this does not.
      await this.#enclave.close().catch(() => {})
      return successor
    } catch (error) {
      this.#upgrading = null
      throw error
    }
  }

  changed(signal: AbortSignal): Promise<void> {
    const { volume, lease, reencryption } = this.#parts
    return new Promise((resolve, reject) => {
      if (signal.aborted || volume.state === "closed") {
        reject(new Error("nothing changes any more"))
        return
      }
      const settle = (act: () => void) => () => {
        stop()
        signal.removeEventListener("abort", aborted)
        act()
      }
      const aborted = settle(() => reject(signal.reason as Error))
      const stops = [volume, lease, reencryption].map((each) => each?.onChange(settle(resolve)))
      const stop = () => {
        for (const each of stops) each?.()
      }
      signal.addEventListener("abort", aborted)
    })
  }

  /**
   * Rejects with exit 5 when the volume is in use by others than our clients; it goes on then. `leave`: a store that hangs is
   * no reason to go on.
   */
  async release(leave = false): Promise<void> {
    await this.#here()
    await this.#parts.volume.release?.(leave)
  }

  /** Rejects with exit 5 while clients are connected that are not about to leave. */
  async vacate(): Promise<void> {
    const { name, clients } = this.#parts
    const served = clients?.()
    if (served === undefined || (await served.vacant(LEAVING_MS))) return
    throw new TresorError(
      "VOLUME_IN_USE",
      Exit.busy,
      `Cannot close ${name}: it is still in use by ${nameClients(served.clients())}; ` +
        `end that first, or use --deferred (close when the last one leaves) or --force (${FORCED[this.#parts.export]})`,
    )
  }

  /** Resolves when no client is connected. */
  async vacant(): Promise<void> {
    await this.#parts.clients?.().vacant(null)
  }

  /** Drains, wipes, flushes; rejects when data may be lost; the keys are wiped in any case. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      const { stopServing, volume, lease, reencryption } = this.#parts
      // Its data and sockets are another's.
      if (this.#upgrading !== null && (await this.#upgrading)) return
      let clean = false
      try {
        await reencryption?.pause(PAUSE_MS)
        const drained = stopServing()
        // I/O that waits for a key would wait forever, and the drain with it.
        if (volume.state !== "ready") await volume.close()
        await drained
        // A block device that is in use may still be written to.
        if (volume.state === "ready" && (volume.device ?? null) === null) await reencryption?.leave()
        await volume.close()
        clean = true
      } catch (error) {
        throw lost(
          this.#parts.name,
          this.#parts.served === undefined ? (volume.unflushed ?? null) : null,
          error as Error,
        )
      } finally {
        await this.#enclave.close()
        await this.#succession.end()
        await lease?.release(clean)
        for (const each of this.#parts.held ?? []) each.close()
      }
    })()
    return this.#closed
  }
}

/** Unless the volume has: it was given the key before it failed. */
function wipe(enclave: Enclave, handle: VolumeHandle): void {
  try {
    enclave.closeVolume(handle)
  } catch (error) {
    if (!(error instanceof TresorError && error.code === "ENCLAVE_HANDLE")) throw error
  }
}

/** What keys are held for a zone to end; one that a disk keeps longer is recovered with the next passphrase. */
const PAUSE_MS = 5000

/** A client that was told to detach is gone within that time. */
const LEAVING_MS = 1000

/** What becomes of the requests of those who are connected. */
const FORCED: Readonly<Record<Export, string>> = {
  nbd: "their next request fails",
  block: "their next request fails",
  "vhost-user": "their requests wait until the volume is opened again",
  kernel: "their next request fails",
}

/** `unflushed` `null`: only the guest or the kernel knows. */
function lost(name: string, unflushed: number | null, cause: Error): TresorError {
  const which =
    unflushed === null
      ? "what was written since the last flush is not known to be on the disk"
      : unflushed === 0
        ? "everything written before it was flushed"
        : `${unflushed} bytes written since the last successful flush are not known to be on the disk`
  return new TresorError(
    "CLOSE_DATA_LOST",
    Exit.wrongDevice,
    `Closed ${name} and wiped its keys, but data may be lost: ${cause.message}; ${which}; check the filesystem on it`,
    { cause },
  )
}

function closing(name: string): TresorError {
  return new TresorError("VOLUME_CLOSING", Exit.busy, `Cannot use ${name}: it is being closed`)
}

function upgraded(name: string): TresorError {
  return new TresorError(
    "VOLUME_UPGRADED",
    Exit.wrongDevice,
    `Nothing was done with ${name}: another tresord has just taken it over; try again`,
  )
}

function locked(name: string): TresorError {
  return new TresorError(
    "VOLUME_LOCKED",
    Exit.denied,
    `Cannot upgrade ${name}: it is locked, so there is no key to give; use \`tresor setkey ${name}\` first, or close and open it`,
  )
}

function unsupported(name: string, fact: string): TresorError {
  return new TresorError(
    "UPGRADE_UNSUPPORTED",
    Exit.badArguments,
    `Cannot upgrade ${name} while it is open: ${fact}; close it and open it again`,
  )
}

function onlyUnlocks(name: string): TresorError {
  return new TresorError(
    "PURPOSE_REFUSED",
    Exit.badArguments,
    `Cannot take a passphrase of 2016's flow for ${name}: it is a LUKS2 volume; leave --legacy out`,
  )
}

function notOfPredecessor(name: string): TresorError {
  return new TresorError(
    "PURPOSE_REFUSED",
    Exit.badArguments,
    `Cannot ask ${name} for this: a predecessor is asked to hand a salt over, and for nothing else`,
  )
}

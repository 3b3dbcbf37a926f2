/** A volume opened in this process: its plaintext is read and written here, its key stays in the enclave. */
import { askEnclave, TrustedEnclave } from "../attest/trusted-enclave.ts"
import { IoError } from "../base/io-error.ts"
import { chooseBackend, openEnclave } from "../enclave/loader.ts"
import type { Enclave } from "../enclave/types.ts"
import { type NbdServer, serveNbd } from "../export/server.ts"
import { openHeader } from "../header/access.ts"
import { checkApart } from "../header/apart.ts"
import { saveResealed, unlockKey, withAdmitted } from "../keyslots/unlock.ts"
import { nbdUri } from "../nbd/uri.ts"
import { openVolumeOn } from "../volume/open.ts"
import type { Volume } from "../volume/volume.ts"
import { checkAnySlot, openPending } from "./open-pending.ts"
import { audienceOf, choiceOf, type TrustOptions, type WorldOptions } from "./options.ts"
import { wiping } from "./secrets.ts"

export interface OpenOptions extends TrustOptions, WorldOptions {
  /** Wiped by the call. */
  readonly passphrase: Uint8Array
  /** Only this keyslot, 0 to 31; default: those that cryptsetup would try. */
  readonly keySlot?: number
  readonly readOnly?: boolean
  /** Pass `discard` on to what is below; it shows which sectors are unused. */
  readonly discards?: boolean
  /** O_DIRECT below. */
  readonly direct?: boolean
  /** Path of a detached header. */
  readonly header?: string
}

/** An NBD server over an open volume; closing it answers what has begun and leaves the volume open. */
export class NbdExport implements AsyncDisposable {
  /** NBD URI of the export. */
  readonly uri: string
  readonly #server: NbdServer
  #closed: Promise<void> | null = null

  constructor(path: string, server: NbdServer) {
    this.uri = nbdUri(path)
    this.#server = server
  }

  /** Clients connected now. */
  get connections(): number {
    return this.#server.connections
  }

  /** Again it does nothing: its path may be somebody else's by then. */
  close(): Promise<void> {
    this.#closed ??= this.#server.close()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

const closed = (path: string): IoError => new IoError("ESHUTDOWN", `${path} is closed`)

/**
 * Offsets and lengths are bytes, safe integers, of any alignment. I/O rejects with IoError: EINVAL (outside the volume),
 * EPERM (read-only), EIO, ENOSPC, ESHUTDOWN (closed).
 */
export class OpenVolume implements AsyncDisposable {
  readonly path: string
  readonly uuid: string
  readonly label: string
  /** The keyslot that opened. */
  readonly keySlot: number
  readonly #volume: Volume
  readonly #enclave: Enclave
  /** Of a reencryption that is pending; `null`: none is. */
  readonly #leave: (() => Promise<void>) | null
  readonly #exports: NbdExport[] = []
  #closed: Promise<void> | null = null

  constructor(
    { path, uuid, label, keySlot }: Pick<OpenVolume, "path" | "uuid" | "label" | "keySlot">,
    volume: Volume,
    enclave: Enclave,
    leave: (() => Promise<void>) | null = null,
  ) {
    this.#leave = leave
    this.path = path
    this.uuid = uuid
    this.label = label
    this.keySlot = keySlot
    this.#volume = volume
    this.#enclave = enclave
  }

  get #now(): Volume {
    if (this.#closed !== null) throw closed(this.path)
    return this.#volume
  }

  /** Bytes of plaintext. */
  get size(): number {
    return this.#volume.size
  }

  /** Bytes. */
  get sectorSize(): number {
    return this.#volume.sectorSize
  }

  get readOnly(): boolean {
    return this.#volume.readOnly
  }

  /** `length` bytes of plaintext, the caller's to wipe. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.#now.read(offset, length)
  }

  /** `bytes` must not change until this has resolved; on stable storage after the next `flush`. */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#now.write(offset, bytes)
  }

  /** Resolves when every write resolved before is on stable storage. */
  async flush(): Promise<void> {
    return this.#now.flush()
  }

  /**
   * The range is not needed any more: what it reads as is undefined. EPERM without the option `discards`, unless the header
   * has the flag allow-discards.
   */
  async discard(offset: number, length: number): Promise<void> {
    return this.#now.discard(offset, length)
  }

  /** Serves it on a new Unix socket, mode 0600, to any number of NBD clients. Throws Node's errors for the socket. */
  async serve(socket: string): Promise<NbdExport> {
    const served = new NbdExport(socket, await serveNbd({ path: socket, volume: this.#now }))
    this.#exports.push(served)
    if (this.#closed === null) return served
    await served.close()
    throw closed(this.path)
  }

  /** Ends its NBD servers, drains, flushes, wipes the key. Rejects when data may be lost; the key is wiped all the same. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      try {
        await Promise.allSettled(this.#exports.map((served) => served.close()))
        await this.#leavePass()
        await this.#volume.close()
      } finally {
        await this.#enclave.close()
      }
    })()
    return this.#closed
  }

  /** Nobody changes the data any more: what is under way could, and then the reencryption goes on without. */
  async #leavePass(): Promise<void> {
    if (this.#leave === null) return
    if (this.#volume.counters.pending === 0) await this.#leave().catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Opens a volume without a daemon; nobody else may have it open (STORE_BUSY, VOLUME_IN_USE, exit 5). `path`: a file, a
 * block device, or an NBD URI. One whose reencryption is pending opens by both keys, with a passphrase that was carried over;
 * `reencrypt` goes on with it once it is closed. Throws TresorError, among others: ENCLAVE_PASSPHRASE (exit 2),
 * STORE_MISSING, NOT_LUKS, LUKS2_UNSUPPORTED (exit 4), ATTEST_UNKNOWN (exit 2), REENCRYPT_PENDING (exit 4: read-only, and a zone
 * must be recovered first; exit 1: with keySlot).
 *
 * @example
 * await using volume = await open("disk.img", { passphrase })
 * await volume.write(0, bytes)
 * await volume.flush()
 */
export async function open(path: string, options: OpenOptions): Promise<OpenVolume> {
  return wiping([options.passphrase], async () => {
    const { readOnly = false, direct = false, header: headerPath = null } = options
    const audience = audienceOf(options)
    const warn = (message: string, facts: Record<string, unknown>) =>
      audience.warn(`${message}: ${JSON.stringify(facts)}`)
    const choice = choiceOf(options)
    const backend = chooseBackend(choice.backend)
    const owner = {}
    const access = await openHeader(headerPath ?? path, { readOnly, backend, owner, warn })
    checkApart({ path, header: headerPath }, access.segment, access.size)
    const enclave = await openEnclave({
      backend,
      sealsNothing: !access.sealed,
      excuse: ({ message }) => audience.warn(message),
    })
    try {
      const trusted = await TrustedEnclave.assess(
        askEnclave(enclave),
        { policy: choice.policy, startedHere: true },
        audience,
      )
      const discards = options.discards === true || access.discards
      const volume = await openVolumeOn(path, access.segment, { readOnly, direct, owner, discards, log: warn })
      try {
        const { uuid, label } = access
        if (access.reencrypts) {
          checkAnySlot(path, options.keySlot)
          const { passphrase } = options
          const opened = await openPending({ path, access, enclave, trusted, volume, passphrase })
          return new OpenVolume({ path, uuid, label, keySlot: opened.slot }, volume, enclave, opened.leave)
        }
        const unlocking = { enclave, access, name: path, path, warn }
        const slot = options.keySlot ?? null
        const header = withAdmitted(unlocking, await access.read(), { slot, unsealed: true })
        const sealed = await trusted.seal({ purpose: "unlock", header, slot }, { existing: options.passphrase })
        const opened = await unlockKey(unlocking, header, sealed)
        volume.unlock(enclave, opened.handle)
        if (!readOnly) await saveResealed(unlocking, opened)
        return new OpenVolume({ path, uuid, label, keySlot: opened.slot }, volume, enclave)
      } catch (error) {
        await volume.close().catch(() => {})
        throw error
      }
    } catch (error) {
      await enclave.close()
      throw error
    }
  })
}

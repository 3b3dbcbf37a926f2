/** The successor: takes an open volume over from the tresord that has started it (messages.ts). */
import { setTimeout as sleep } from "node:timers/promises"
import type { TresorError } from "../../base/errors.ts"
import { VERSION } from "../../base/version.ts"
import { showTo } from "../../enclave/succession.ts"
import type { Enclave, VolumeHandle } from "../../enclave/types.ts"
import type { HeldConnection } from "../../export/connection.ts"
import type { HeldServer } from "../../export/server.ts"
import type { OpenHeader } from "../../header/access.ts"
import type { OpenedKey } from "../../keyslots/unlock.ts"
import { HeldPath } from "../../store/held-path.ts"
import type { Volume } from "../../volume/volume.ts"
import type { TakeoverChannel } from "./channel.ts"
import { type Heard, hear, segmentText, type TakeoverMessage, takeoverFailed, tell } from "./messages.ts"

/** What a session goes on with. */
export interface Resumed {
  readonly since: string
  readonly opened: OpenedKey
}

/** A process that has ended has closed its sockets a moment before its children see it. */
const DYING_MS = 10_000
const LOOK_MS = 10

/** Whether our parent ends within that time. */
async function ends(parent: number): Promise<boolean> {
  for (let waited = 0; waited < DYING_MS; waited += LOOK_MS) {
    if (process.ppid !== parent) return true
    await sleep(LOOK_MS)
  }
  return false
}

function gone(name: string): TresorError {
  return takeoverFailed(name, "the old tresord gave it up")
}

export class Takeover {
  readonly #channel: TakeoverChannel
  readonly #name: string
  readonly #offer: Heard<"offer">
  readonly #parent = process.ppid
  readonly #claim: () => void
  #resumed: Resumed | null = null
  #control: number | null = null

  private constructor(channel: TakeoverChannel, name: string, offer: Heard<"offer">, claim: () => void) {
    this.#channel = channel
    this.#name = name
    this.#offer = offer
    this.#claim = claim
  }

  /** `claim`: makes the name ours in the runtime directory. Rejects with UPGRADE_FAILED. */
  static async begin(channel: TakeoverChannel, name: string, claim: () => void): Promise<Takeover> {
    const offer = await hear(channel, name, "offer")
    if (offer === null) throw gone(name)
    return new Takeover(channel, name, offer, claim)
  }

  /** Data and detached header, as the predecessor found them. The caller's. */
  held(): HeldPath[] {
    const { held, fds } = this.#offer
    return held.map((path, index) => new HeldPath(path, undefined, fds[index]!))
  }

  /** What keeps others off the store. The caller's. */
  get claims(): readonly number[] {
    return this.#offer.fds.slice(this.#offer.held.length)
  }

  get discards(): boolean {
    return this.#offer.discards
  }

  /** Throws UPGRADE_FAILED when somebody has replaced the header since the volume was opened. */
  check({ uuid, segment }: Pick<OpenHeader, "uuid" | "segment">): void {
    if (uuid === this.#offer.uuid && segmentText(segment) === this.#offer.segment) return
    throw takeoverFailed(this.#name, "its header is not the one that it was opened with")
  }

  async #next<K extends TakeoverMessage>(...kinds: readonly K[]): Promise<Heard<K>> {
    const message = await hear(this.#channel, this.#name, ...kinds)
    if (message === null) throw gone(this.#name)
    return message
  }

  /**
   * Brings the key into `enclave` and `volume`, and then everything else. Resolves with what is left to serve, once its
   * `commit` has resolved. Rejects with UPGRADE_FAILED, or as the enclave decides.
   */
  async receive(
    enclave: Enclave,
    volume: Volume,
    header: OpenHeader,
  ): Promise<HeldServer & { commit(): Promise<void> }> {
    const channel = this.#channel
    const shown = await showTo(this.#offer.target, await enclave.challenge("take_over"), enclave)
    await tell(channel, "shows", { version: VERSION, ...shown })
    const { yielded } = await this.#next("yields")
    const handle = await enclave.takeOver!(yielded, await header.read())
    volume.unlock(enclave, handle)
    await tell(channel, "prepared", {})
    return this.#takeState(volume, handle)
  }

  async #takeState(volume: Volume, handle: VolumeHandle): Promise<HeldServer & { commit(): Promise<void> }> {
    const connections: HeldConnection[] = []
    for (;;) {
      const message = await this.#next("client", "state")
      if (message.kind === "client") {
        const { fds, input, structured, allocation } = message
        connections.push({ fd: fds[0]!, input, negotiated: { structured, allocation } })
        continue
      }
      const { kind: _, fds, size, counters, refused, since, clients, ...facts } = message
      const [control, listening] = fds
      if (control === undefined || listening === undefined || clients !== connections.length) {
        throw takeoverFailed(this.#name, "the old tresord did not give all of its sockets")
      }
      volume.carryOn(size, counters)
      this.#control = control
      this.#resumed = { since, opened: { ...facts, handle, segmentChanged: false, resealed: null } }
      return { connections, listening, refused, commit: () => this.#commit() }
    }
  }

  async #commit(): Promise<void> {
    await tell(this.#channel, "ready", {})
    const go = await hear(this.#channel, this.#name, "go")
    // It closes the channel while we live only when it dies. Then nobody else can serve, and all of it is here.
    if (go === null && !(await ends(this.#parent))) throw gone(this.#name)
    this.#claim()
    if (go !== null) await tell(this.#channel, "done", {})
    this.#channel.close()
  }

  /** After `receive`. */
  get resumed(): Resumed {
    return this.#resumed!
  }

  /** The listening control socket, after `receive`; the caller's. */
  get control(): number {
    return this.#control!
  }
}

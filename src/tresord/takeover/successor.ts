/** The successor: takes an open volume over from the tresord that has started it (messages.ts). */
import { setTimeout as sleep } from "node:timers/promises"
import { deferred } from "../../base/deferred.ts"
import type { TresorError } from "../../base/errors.ts"
import { VERSION } from "../../base/version.ts"
import { processStart } from "../../control/runtime.ts"
import { showTo } from "../../enclave/succession.ts"
import type { Enclave } from "../../enclave/types.ts"
import type { OpenHeader } from "../../header/access.ts"
import type { OpenedKey } from "../../keyslots/unlock.ts"
import { peerCredentials } from "../../native/addon.ts"
import { HeldPath } from "../../store/held-path.ts"
import { TakeoverChannel } from "./channel.ts"
import type { TakenExport } from "./export.ts"
import { type Heard, hear, segmentText, type TakeoverMessage, takeoverFailed, tell } from "./messages.ts"

/** What a session goes on with. */
export interface Resumed {
  readonly since: string
  readonly opened: OpenedKey
}

/** A process that has ended has closed its sockets a moment before its children see it. */
const DYING_MS = 10_000
const LOOK_MS = 10

/** The tresord that has started us; `start` as processStart, which tells it from any later process of that PID. */
interface Predecessor {
  readonly pid: number
  readonly start: string | null
}

/** Whether it ends within that time. */
async function ends({ pid, start }: Predecessor): Promise<boolean> {
  for (let waited = 0; waited < DYING_MS; waited += LOOK_MS) {
    if (start === null || processStart(pid) !== start) return true
    await sleep(LOOK_MS)
  }
  return false
}

function gone(name: string): TresorError {
  return takeoverFailed(name, "the old tresord gave it up")
}

export class Takeover {
  readonly name: string
  readonly #channel: TakeoverChannel
  readonly #offer: Heard<"offer">
  readonly #predecessor: Predecessor
  readonly #appear: (control: number) => void
  readonly #left = deferred<void>()
  #resumed: Resumed | null = null
  #control: number | null = null

  private constructor(
    channel: TakeoverChannel,
    name: string,
    offer: Heard<"offer">,
    predecessor: Predecessor,
    appear: (control: number) => void,
  ) {
    this.#channel = channel
    this.name = name
    this.#offer = offer
    this.#predecessor = predecessor
    this.#appear = appear
  }

  /**
   * `fd`: of the socket to the predecessor, which has made both ends of it. `appear`: makes name and control socket ours, so
   * that others find us. Rejects with UPGRADE_FAILED.
   */
  static async begin(fd: number, name: string, appear: (control: number) => void): Promise<Takeover> {
    const { pid } = peerCredentials(fd)
    const predecessor = { pid, start: processStart(pid) }
    const channel = new TakeoverChannel(fd)
    await tell(channel, "begins", { pid: process.pid }).catch(() => {
      throw gone(name)
    })
    const offer = await hear(channel, name, "offer")
    if (offer === null) throw gone(name)
    return new Takeover(channel, name, offer, predecessor, appear)
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

  /** As which the lease on the store goes on; `null`: there is none. */
  get leaseOwner(): string | null {
    return this.#offer.leaseOwner
  }

  get discards(): boolean {
    return this.#offer.discards
  }

  /** Throws UPGRADE_FAILED when somebody has replaced the header since the volume was opened. */
  check({ uuid, segment }: Pick<OpenHeader, "uuid" | "segment">): void {
    if (uuid === this.#offer.uuid && segmentText(segment) === this.#offer.segment) return
    throw takeoverFailed(this.name, "its header is not the one that it was opened with")
  }

  async #next<K extends TakeoverMessage>(...kinds: readonly K[]): Promise<Heard<K>> {
    const message = await hear(this.#channel, this.name, ...kinds)
    if (message === null) throw gone(this.name)
    return message
  }

  /**
   * Brings the key into `enclave` and `taken`, and then everything else. Rejects with UPGRADE_FAILED, or as the enclave
   * decides.
   */
  async receive<T>(enclave: Enclave, header: OpenHeader, taken: TakenExport<T>): Promise<T> {
    const channel = this.#channel
    const shown = await showTo(this.#offer.target, await enclave.challenge("take_over"), enclave)
    await tell(channel, "shows", { version: VERSION, ...shown })
    const { yielded } = await this.#next("yields")
    const handle = await enclave.takeOver(yielded, await header.read())
    taken.unlock(handle)
    await tell(channel, "prepared", {})
    const received = await taken.receive((...kinds) => this.#next(...kinds), handle)
    const { kind: _, fds, since, ...facts } = await this.#next("state")
    const [control] = fds
    if (control === undefined) throw takeoverFailed(this.name, "the old tresord did not give its control socket")
    this.#control = control
    this.#resumed = { since, opened: { ...facts, handle, segmentChanged: false, resealed: null } }
    return received
  }

  /**
   * Once it has resolved, the volume is ours. `take`: takes what the predecessor has let go of. Rejects with
   * UPGRADE_FAILED, or as `take`; then the predecessor serves on.
   */
  async commit(take: () => Promise<void> = async () => {}): Promise<void> {
    await tell(this.#channel, "ready", {})
    const go = await hear(this.#channel, this.name, "go")
    // It closes the channel while we live only when it dies. Then nobody else can serve, and all of it is here.
    if (go === null && !(await ends(this.#predecessor))) throw gone(this.name)
    await take()
    this.#appear(this.#control!)
    // It serves only when we have ended; if it has died meanwhile, there is nobody to tell.
    if (go !== null) await tell(this.#channel, "done", {}).catch(() => {})
    void this.#seeOff()
  }

  async #seeOff(): Promise<void> {
    await this.#channel.receive()
    this.#channel.close()
    this.#left.resolve()
  }

  /** Resolves when the old tresord has told whom it had to, and leaves. */
  get left(): Promise<void> {
    return this.#left.promise
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

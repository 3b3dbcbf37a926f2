/** What a close needs of a block device first: that nobody else uses it, and that what was written to it is with the volume. */
import { constants } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { Exit, TresorError } from "../base/errors.ts"
import { tryRun } from "../base/programs.ts"
import { within } from "./device.ts"
import type { Linear } from "./linear.ts"
import { linkOf } from "./link.ts"

/** A store by which nothing ends for that time hangs. */
export const STALL_MS = 60_000
/** How long udev, which looks at what has changed, may have the device open, and how often is looked. */
const USED_MS = 5000
const LOOK_MS = 200

export interface Claimed {
  /** The volume's. */
  readonly name: string
  /** What the link leads to. */
  readonly path: string
  /** It is this mapping; `null`: ublk's device itself, of which the kernel does not tell how many have it open. */
  readonly linear: Linear | null
  /** Requests that have ended. */
  readonly ended: () => number
}

function inUse({ name, path }: Claimed): TresorError {
  return new TresorError(
    "BLOCK_IN_USE",
    Exit.busy,
    `Cannot close ${name}: ${linkOf(name)} (${path}) is in use; unmount it, or end what has it open`,
  )
}

/** Rejects with BLOCK_STALLED (exit 4) when nothing of the device ends any more; `work` goes on then. */
async function inTime(work: Promise<void>, { name, ended }: Claimed): Promise<void> {
  const late = new TresorError(
    "BLOCK_STALLED",
    Exit.wrongDevice,
    `Cannot close ${name}: its store has not answered for ${STALL_MS / 1000} s; it stays open, and nothing is lost: ` +
      "close it when the store is back, or use --force",
  )
  for (;;) {
    const before = ended()
    try {
      return await within(STALL_MS, work, late)
    } catch (error) {
      if (error !== late || ended() === before) throw error
    }
  }
}

/**
 * As sync(1): a thread of ours that waited for our own device could not be killed while its store hangs, the process
 * could not end, and nobody could take the device over. Throws an Error.
 */
async function syncDevice(path: string): Promise<void> {
  const { code, stderr } = await tryRun("sync", [path])
  if (code !== 0) throw new Error(stderr === "" ? `sync exited with ${code}` : stderr)
}

export class Claim {
  readonly #device: Claimed
  readonly #handle: FileHandle
  #synced = Promise.resolve()

  private constructor(device: Claimed, handle: FileHandle) {
    this.#device = device
    this.#handle = handle
  }

  /**
   * Nobody mounts it from here on. `before`: of a claim that was given up and may have it open still. Throws BLOCK_IN_USE
   * (exit 5), BLOCK_STALLED.
   */
  static async take(device: Claimed, before: Promise<void>): Promise<Claim> {
    await inTime(before, device)
    const handle = await open(device.path, constants.O_RDONLY | constants.O_EXCL).catch((error) => {
      throw (error as NodeJS.ErrnoException).code === "EBUSY" ? inUse(device) : error
    })
    try {
      for (const began = Date.now(); ((await device.linear?.users()) ?? 1) > 1; await sleep(LOOK_MS)) {
        if (Date.now() - began > USED_MS) throw inUse(device)
      }
      return new Claim(device, handle)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** What was written is with the volume; resolves with what kept it from that. Throws BLOCK_STALLED. */
  async sync(): Promise<Error | null> {
    let fault: Error | null = null
    this.#synced = syncDevice(this.#device.path).catch((error: Error) => {
      fault = error
    })
    await inTime(this.#synced, this.#device)
    return fault
  }

  /** Others may mount it; resolves when a sync that was given up has ended. */
  async close(): Promise<void> {
    await this.#handle.close()
    await this.#synced
  }
}

/**
 * Whole pages of a file or device by O_DIRECT, for who moves all of it once: it leaves the page cache alone, costs no
 * copy, and reading and writing go on at the same time. Parts of pages go through the page cache, of which others may
 * have clean pages meanwhile. What Linux does not drop behind an asynchronous write, those of a block device and of FUSE
 * (docs/decisions/0064), it drops behind a synchronous one of a thread. Elsewhere a thread that reads would hold the
 * file's lock against the header's writes, and a ring does not.
 */
import { stat, statfs } from "node:fs/promises"
import { IoError } from "../base/io-error.ts"
import { diskMemory } from "../native/disk.ts"
import { FileStore } from "./file-store.ts"
import type { Store } from "./store.ts"

const PAGE = 4096

/** Zeros from which a disk reads, and to which it writes, without a copy. */
export function pageMemory(length: number): Uint8Array {
  return new Uint8Array(diskMemory(length))
}

/** What is moved past the page cache, by way of a store that nobody else writes to meanwhile. */
export type Bulk = Pick<Store, "read" | "write" | "flush">

export class PastCache implements Bulk {
  readonly #cached: Bulk
  readonly #past: Bulk
  #refused = false

  /** Two ways to the same bytes; `past` takes whole pages. */
  constructor(cached: Bulk, past: Bulk) {
    this.#cached = cached
    this.#past = past
  }

  async #by(offset: number, { length }: Uint8Array, move: (way: Bulk) => Promise<void>): Promise<void> {
    if (this.#refused || offset % PAGE !== 0 || length % PAGE !== 0) return move(this.#cached)
    try {
      await move(this.#past)
    } catch (error) {
      // A filesystem that opens with O_DIRECT, and then refuses it.
      if (!(error instanceof IoError) || error.code !== "EINVAL") throw error
      this.#refused = true
      await move(this.#cached)
    }
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#by(offset, into, (way) => way.read(offset, into))
  }

  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#by(offset, from, (way) => way.write(offset, from))
  }

  /** Both ways: fdatasync(2) is the file's. */
  flush(): Promise<void> {
    return this.#past.flush()
  }
}

/** statfs(2). O_DIRECT copies like everything else in a tmpfs. */
const TMPFS = 0x01021994
const FUSE = 0x65735546

async function openPast(store: Store): Promise<FileStore | null> {
  if (store.fd === null) return null
  const at = `/proc/self/fd/${store.fd}`
  const [file, { type }] = [(await stat(at)).isFile(), await statfs(at)]
  // The node of a block device is in a tmpfs as well.
  if (file && type === TMPFS) return null
  const transfers = file && type !== FUSE ? "any" : "threads"
  // Refused by the filesystem: everything goes through the cache then.
  return FileStore.open(store.path, { at, claim: "none", direct: true, transfers }).catch(() => null)
}

/** Runs `work` with that way to an open store; `null`: there is none, or it would gain nothing. */
export async function withPastCache<T>(store: Store, work: (past: PastCache | null) => Promise<T>): Promise<T> {
  const past = await openPast(store)
  if (past === null) return work(null)
  try {
    return await work(new PastCache(store, past))
  } finally {
    await past.close()
  }
}

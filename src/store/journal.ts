/**
 * Writes a server has not yet put on stable storage, in the order they were
 * made: what it may lose, and is to be given again.
 */

export interface JournalEntry {
  readonly offset: number
  readonly bytes: Uint8Array
  /** The server has it, as far as we know. */
  held: boolean
  /** Whoever wrote it was told that it is written. */
  promised: boolean
}

/** What an entry costs beside its bytes. */
const OVERHEAD = 256

export class Journal {
  readonly #entries = new Set<JournalEntry>()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  /** Copies `bytes`: their owner takes them back once the write is acknowledged. */
  add(offset: number, bytes: Uint8Array): JournalEntry {
    const entry = { offset, bytes: Uint8Array.from(bytes), held: false, promised: false }
    this.#entries.add(entry)
    this.#bytes += bytes.length + OVERHEAD
    return entry
  }

  delete(entry: JournalEntry): void {
    if (this.#entries.delete(entry)) this.#bytes -= entry.bytes.length + OVERHEAD
  }

  /** What a flush sent now covers. */
  held(): JournalEntry[] {
    return [...this.#entries].filter((entry) => entry.held)
  }

  /** Whether something promised is not held. */
  get broken(): boolean {
    for (const entry of this.#entries) if (entry.promised && !entry.held) return true
    return false
  }

  /** The first that is not held and all after it, in order: a later one may overlap it. */
  missing(): JournalEntry[] {
    const entries = [...this.#entries]
    const first = entries.findIndex((entry) => !entry.held)
    return first === -1 ? [] : entries.slice(first)
  }

  /** The server may have lost everything. */
  doubt(): void {
    for (const entry of this.#entries) entry.held = false
  }
}

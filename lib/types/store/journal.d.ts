/**
 * Writes a server has not yet put on stable storage, in the order they were
 * made: what it may lose, and is to be given again.
 */
export interface JournalEntry {
    readonly offset: number;
    readonly bytes: Uint8Array;
    /** The server has it, as far as we know. */
    held: boolean;
    /** Whoever wrote it was told that it is written. */
    promised: boolean;
}
export declare class Journal {
    #private;
    get bytes(): number;
    /** Copies `bytes`: their owner takes them back once the write is acknowledged. */
    add(offset: number, bytes: Uint8Array): JournalEntry;
    delete(entry: JournalEntry): void;
    /** What a flush sent now covers. */
    held(): JournalEntry[];
    /** Whether something promised is not held. */
    get broken(): boolean;
    /** The first that is not held and all after it, in order: a later one may overlap it. */
    missing(): JournalEntry[];
    /** The server may have lost everything. */
    doubt(): void;
}

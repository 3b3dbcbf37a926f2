/** Moves whole blocks past the page cache, over buffers that O_DIRECT accepts. */
import type { FileHandle } from "node:fs/promises";
/** Fits every device's logical block and every memory alignment a driver asks for. */
export declare const DIRECT_BLOCK = 4096;
type Native = Pick<typeof import("../native/file.ts"), "alignedBuffer" | "writeInside">;
export declare class DirectFile {
    #private;
    /** Owns `handle`, opened with O_DIRECT. */
    constructor(handle: FileHandle, native: Native);
    /** `offset` and the length are multiples of DIRECT_BLOCK. */
    read(offset: number, into: Uint8Array): Promise<void>;
    /** `offset` and the length are multiples of DIRECT_BLOCK. */
    write(offset: number, from: Uint8Array): Promise<void>;
    close(): Promise<void>;
}
export {};

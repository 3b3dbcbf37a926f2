/** Whole or not at all, and on stable storage when it returns. Throws the system's errors. */
export declare function replaceFile(path: string, content: string | Uint8Array, mode?: number): void;
/**
 * As `replaceFile` for a file that is not there. False when it is: who reads it never sees a part, and of two makers
 * one wins. For file systems with hard links.
 */
export declare function makeFile(path: string, content: string | Uint8Array, mode?: number): boolean;
/** Puts the entry of `path` in its directory on stable storage. Throws the system's errors. */
export declare function syncDirectory(path: string): void;

/**
 * Whole or not at all, and on stable storage when it returns. What it is called in between cannot be
 * guessed and must not exist: nobody can have put a link or a file of theirs there. Throws the system's errors.
 */
export declare function replaceFile(path: string, content: string | Uint8Array, mode?: number): void;
/** Puts the entry of `path` in its directory on stable storage. Throws the system's errors. */
export declare function syncDirectory(path: string): void;

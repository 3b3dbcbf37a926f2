/** Absolute, without links. Throws RUNTIME_UNKNOWN where no directory of the user's own is known: never below /tmp. */
export declare function runtimeRoot(env?: NodeJS.ProcessEnv, uid?: number): string;
/**
 * The checked root as a descriptor, the caller's to close; `null`: there is none.
 * Every step is looked up in the directory that was checked before it. Throws
 * RUNTIME_NOT_PRIVATE. `owner`: whose root may look into another user's.
 */
export declare function openRoot(root: string, owner?: number): number | null;
/** Throws RUNTIME_NOT_PRIVATE; false: there is no such directory. For those who go on by path: nobody can exchange it. */
export declare function checkRoot(root: string): boolean;
/**
 * A file two levels below the root, read only when directory and file belong to `owner` and
 * nobody else can write them. "missing": the directory is not there. "damaged": anything else is wrong.
 */
export declare function readPrivate(root: string, directory: string, file: string, owner?: number): {
    readonly text: string;
} | "missing" | "damaged";
/** Makes the root, and refuses one that others can enter or exchange. */
export declare function prepareRoot(root: string): void;

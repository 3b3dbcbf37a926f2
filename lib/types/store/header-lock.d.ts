import { type FileHandle } from "node:fs/promises";
export type LockMode = "shared" | "exclusive";
/** Runs `work` while the header on `handle` is locked. Throws TresorError LUKS2_LOCKED (exit 5) after 30 s. */
export declare function withHeaderLock<T>({ handle, path, readOnly }: {
    readonly handle: FileHandle;
    readonly path: string;
    readonly readOnly: boolean;
}, mode: LockMode, work: () => Promise<T>): Promise<T>;

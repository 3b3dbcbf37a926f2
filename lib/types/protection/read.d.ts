/** Reads the facts for judge.ts from /proc and /sys, through a reader that the caller (or a test) provides. */
import type { MachineFacts } from "./judge.ts";
export interface Files {
    /** Contents of a file, or null. */
    read(path: string): string | null;
    exists(path: string): boolean;
}
export declare function readMachine(files: Files, secretMemory: boolean): MachineFacts;

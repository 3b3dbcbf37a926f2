/** What judge.ts judges, read from /proc and /sys. The reader is the caller's; tests give a machine of their own. */
import type { MachineFacts } from "./judge.ts";
export interface Files {
    /** Contents of a file, or null. */
    read(path: string): string | null;
    exists(path: string): boolean;
}
export declare function readMachine(files: Files, secretMemory: boolean): MachineFacts;

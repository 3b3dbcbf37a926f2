export interface Ran {
    readonly code: number;
    readonly stdout: string;
    readonly stderr: string;
}
export declare function has(command: string): boolean;
/** Runs to the end; any exit code. Throws when the program is not there. */
export declare function tryRun(command: string, args: readonly string[]): Promise<Ran>;
/** Runs and insists on success; `what` completes "Cannot …". */
export declare function run(what: string, command: string, args: readonly string[]): Promise<string>;
/** Starts a program that stays; it outlives us. */
export declare function start(command: string, args: readonly string[]): Promise<number>;

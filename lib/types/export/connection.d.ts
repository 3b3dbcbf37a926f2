/**
 * One client. Requests are taken from the channel's memory as they come; whole
 * sectors that need not wait for a disk are moved at once, many in one entry of
 * the enclave, and everything else is served side by side, each request on its
 * own. What a request holds in memory is taken from the shared budget first, and
 * given back when its reply has left; so a client that asks and does not read
 * waits, and holds little.
 */
import type { Budget } from "../base/budget.ts";
import type { Volume } from "../volume/volume.ts";
export interface ConnectionOptions {
    readonly volume: Volume;
    readonly budget: Budget;
    /** Bytes one connection may have in work now; a larger single request runs alone. */
    readonly share: () => number;
    readonly stallMs: number;
    readonly attention: Attention;
}
/** What the connections of a server share: only one client that is alone is waited for without sleeping. */
export interface Attention {
    /** There is a CPU for a client beside ours. */
    readonly possible: boolean;
    /** Who was heard last. */
    last: Connection | null;
}
export declare class Connection {
    #private;
    /** `fd` is duplicated. */
    constructor(fd: number, { volume, budget, share, stallMs, attention }: ConnectionOptions);
    /** Resolves when the connection has ended. */
    run(): Promise<void>;
    /**
     * Begins no more requests: they are answered with ESHUTDOWN. What has begun may
     * take half of `graceMs`, everything together all of it; then `run` resolves.
     */
    close(graceMs: number): void;
    /** Whether the client has left replies lying, or a request it holds memory for incomplete, for `ms`. */
    stuck(ms: number): boolean;
    /** Gives back what is held for a payload that has not begun to come. */
    relax(): void;
    /** Called now and then: gives idle memory back. A client may be silent, in the middle of a request too. */
    check(): void;
    cut(): void;
}

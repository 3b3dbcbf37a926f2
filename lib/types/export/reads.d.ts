/**
 * Reads of whole sectors on their way to the client: rows are made of requests,
 * piece by piece, and moved together, in one entry of the enclave, to where they
 * are sent from.
 */
import type { Budget } from "../base/budget.ts";
import type { Volume } from "../volume/volume.ts";
import { type Channel } from "./channel.ts";
import type { Request } from "./request.ts";
export declare class Reads {
    #private;
    constructor(volume: Volume, channel: Channel, budget: Budget);
    /** Nothing waits for `move`. */
    get empty(): boolean;
    /** The output has no room for more of a read: `add` it again, for what is left of it, before another one. */
    get rest(): Request | null;
    /** What is left of a read that will not be added again; `null`: of none. */
    giveUp(): Request | null;
    /** Gives back the budget held for what is in the output. */
    release(): void;
    /** Makes rows of a read, or of the rest of it. Returns what there was no memory for, to be served on its own. */
    add(request: Request): Request | null;
    /**
     * Moves all rows and makes the replies of those that came. Returns what is left of
     * the others' requests, to be served on their own.
     */
    move(structured: boolean): Request[];
}

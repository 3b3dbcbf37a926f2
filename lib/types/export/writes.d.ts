import type { Volume } from "../volume/volume.ts";
import type { Channel } from "./channel.ts";
import type { Request } from "./request.ts";
/** What became of the rows of one request, the last ones of it that there are. */
export interface Outcome {
    readonly request: Request;
    /** From the first row on that failed; what was written behind it is to be written again. `null`: none did. */
    readonly unwritten: Buffer | null;
    /** No more rows come. */
    readonly complete: boolean;
}
export declare class Writes {
    #private;
    constructor(volume: Volume, channel: Channel);
    /** Whether another row can be added before these are moved. */
    takes(length: number): boolean;
    /** The payload stays where it is until `move`. */
    add(request: Request, from: number, length: number, payload: number): void;
    /** Lets more be received first: that keeps the client busy, and more rows go in one entry. */
    defer(): void;
    /** One outcome for each request, in their order; none: there were no rows. */
    move(): Outcome[];
}

import type { Volume } from "../volume/volume.ts";
export interface NbdServerOptions {
    /** Path of the Unix socket; must not exist. */
    readonly path: string;
    readonly volume: Volume;
    /**
     * A peer is cut off that has not chosen the export by then, or that stops for so
     * long within a request or leaves its replies lying while others wait for memory.
     * `close` takes no longer.
     */
    readonly stallMs?: number;
    /** Bytes of payload in work for all connections together; at least the largest one, 32 MiB. */
    readonly memory?: number;
    /** Clients at one time; those past it are turned away. Default: what the limit of open files leaves. */
    readonly most?: number;
}
export interface NbdServer {
    readonly connections: number;
    /** Clients that were turned away: too many, or no descriptor or memory for them. */
    readonly refused: number;
    /** Process IDs of the clients, as they connected. */
    clients(): number[];
    /** Resolves when nobody is connected; false: somebody still was after `ms`. */
    vacant(ms: number | null): Promise<boolean>;
    /** Stops listening, answers what has begun, closes the connections, within `stallMs`. */
    close(): Promise<void>;
}
/** Rejects with Node's error when the socket cannot be made. */
export declare function serveNbd(options: NbdServerOptions): Promise<NbdServer>;

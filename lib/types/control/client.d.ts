/** The asking side of varlink, over a Unix socket or any pair of streams. */
import { type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Parameters } from "./varlink.ts";
/**
 * Rejects with the socket's error (ENOENT, ECONNREFUSED: nobody serves it), or with what `check`,
 * which sees the peer before a byte is sent, throws.
 */
export declare function connectSocket(path: string, check?: (socket: Socket) => void, { halfOpen }?: {
    halfOpen?: boolean | undefined;
}): Promise<Socket>;
export declare class ControlClient implements Disposable {
    #private;
    /** Takes the stream over. Calls are made one after the other. */
    constructor(stream: Duplex);
    /** As connectSocket. */
    static connect(path: string, check?: (socket: Socket) => void): Promise<ControlClient>;
    call(method: string, parameters?: Parameters): Promise<Parameters>;
    /** A call with `more`: one value per reply. */
    stream(method: string, parameters?: Parameters): AsyncGenerator<Parameters, void>;
    close(): void;
    [Symbol.dispose](): void;
}

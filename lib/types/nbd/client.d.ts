import { IoError } from "../base/io-error.ts";
import type { NbdTarget } from "./uri.ts";
export interface NbdClientOptions {
    /** A server that leaves requests unanswered so long is given up; default: never. */
    readonly timeoutMs?: number;
}
export declare class NbdClient implements AsyncDisposable {
    #private;
    private constructor();
    /**
     * To a Unix socket's path, or where a URI points. Rejects with Node's error
     * when nobody listens, IoError when the peer speaks otherwise.
     */
    static connect(target: string | NbdTarget, { timeoutMs }?: NbdClientOptions): Promise<NbdClient>;
    /** Bytes. */
    get size(): number;
    get readOnly(): boolean;
    /** False: the server keeps nothing back that a flush would write. */
    get flushes(): boolean;
    get trims(): boolean;
    /** Bytes; offsets and lengths are to be multiples of it. */
    get minimumBlock(): number;
    /** Whether the connection was given up or has ended: what a request then rejects with is not the server's word. */
    get gone(): boolean;
    /** Resolves when it was given up, for whatever reason. */
    get left(): Promise<void>;
    /** Why; `null`: it was not. */
    get reason(): IoError | null;
    /**
     * After the end: changes were not answered, and it is not known that the server's side has ended,
     * because the network failed. It may still make them.
     */
    get unsure(): boolean;
    /** Whether it ended because the server does not keep to the protocol. */
    get violated(): boolean;
    /** Resolves when the connection has ended on both sides, as far as can be known. */
    get ended(): Promise<void>;
    /**
     * Gives the connection up: says goodbye, and waits for the server to end it if it may still do what
     * it was asked to. Requests without an answer reject when it has ended, unless they get one first.
     */
    leave(reason: IoError): void;
    /** `into` is the client's until this has settled; after a rejection its content is undefined. */
    readInto(offset: number, into: Uint8Array): Promise<void>;
    read(offset: number, length: number): Promise<Buffer>;
    /** `bytes` must not change until this has resolved. */
    write(offset: number, bytes: Uint8Array, { fua }?: {
        fua?: boolean | undefined;
    }): Promise<void>;
    flush(): Promise<void>;
    trim(offset: number, length: number): Promise<void>;
    writeZeroes(offset: number, length: number): Promise<void>;
    /** Ends our side at once; requests in flight reject. */
    destroy(): void;
    /** Where the server is: an address and port; of a Unix socket nothing. */
    get address(): string;
    /** Says goodbye; requests in flight are answered first when the server keeps to the protocol. */
    [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A socket's bytes for a generator, which yields a buffer and goes on when it is
 * full. Long buffers are received into directly, short ones by way of one that
 * takes many at a time. Nothing is held back: a peer that sends unasked is the
 * generator's to refuse.
 */
import type { OnReadOpts } from "node:net";
export declare class Receiver {
    #private;
    /** `failed` is called when the conversation throws; then nothing more is to come. */
    constructor(conversation: Generator<Uint8Array, never, void>, failed: (error: unknown) => void);
    /** For the socket's constructor. */
    readonly onread: OnReadOpts;
}

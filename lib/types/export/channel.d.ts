/** Bytes of data that are moved at once: a batch of it stays in the CPU's cache. */
export declare const PIECE: number;
export declare class Channel {
    #private;
    readonly buffer: ArrayBuffer;
    readonly view: DataView;
    readonly bytes: Buffer;
    /** `fd` is duplicated. `onEvent`: READABLE, WRITABLE or both, as `poll` asked for. */
    constructor(fd: number, onEvent: (events: number) => void);
    get closed(): boolean;
    close(): void;
    /** Asks for events, until asked otherwise. */
    poll(events: number): void;
    /** Where the input starts that has not been taken. */
    get start(): number;
    /** Bytes of input that have not been taken. */
    get length(): number;
    /** The peer has sent its last byte. */
    get over(): boolean;
    /** The peer takes nothing more either: it has closed, or died. */
    get hungUp(): boolean;
    /** Whether `receive` has room. */
    get hasRoom(): boolean;
    take(length: number): void;
    /** Whether what comes next is more of a payload, or a request. */
    expect(what: "payload" | "request"): void;
    /** What was taken from the room with position `at` stays as it is until the call after the next, or `rest`. */
    keep(at: number): void;
    /** Makes room for one request with a payload of up to PIECE bytes, or as much of a longer one; 0: for small ones. */
    allowPayload(length: number): void;
    /**
     * Up to `most` bytes more. False: none came within so many microseconds of
     * busy waiting, or the connection broke: then it is closed.
     */
    receive(most: number, microseconds?: number): boolean;
    /** Memory for the ciphertext of writes, 8-byte aligned. -1: not so much. */
    ciphertext(used: number, length: number): number;
    /** `length` bytes of output, 8-byte aligned, until they have been sent. -1: no room before more was sent. */
    reserve(length: number): number;
    /** To be sent after what was pushed before. */
    push(at: number, length: number): void;
    /** Bytes pushed that the socket has not taken. */
    get unsent(): number;
    /** When the socket last took some, or first was given some; as performance.now(). */
    get moved(): number;
    /** Sends what can be. True: everything left, and all of the output is free. */
    send(): boolean;
    /** Gives memory back that was not used since the last call. */
    rest(): void;
}

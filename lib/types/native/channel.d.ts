/** `receive`, `send`: bytes moved, or a negative errno. `at`, `length`: bytes of `buffer`. */
export interface NativeChannel {
    readonly buffer: ArrayBuffer;
    receive(at: number, length: number, microseconds: number): number;
    /** Rows of two, at most `channelRows`: where in the buffer, and how many bytes. */
    send(table: Float64Array, rows: number): number;
    poll(events: number): void;
    forget(at: number, length: number): void;
    hungUp(): boolean;
    close(): void;
}
export declare const channelRows: number, createChannel: (fd: number, size: number, onEvent: (events: number) => void) => NativeChannel;
export declare const READABLE = 1;
export declare const WRITABLE = 2;

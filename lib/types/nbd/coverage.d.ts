/** Tracks the received bytes of a read: a reply that does not cover each byte exactly once is refused. Pure. */
/** Separate pieces at one time. Servers send in order or nearly so; a hostile one must not make us search long lists. */
export declare const MOST_PIECES = 1024;
export declare class Coverage {
    #private;
    /** False: a byte of [start, end) has come before, the range is empty, or there are too many pieces. */
    add(start: number, end: number): boolean;
    /** Whether every byte of [0, length) has come. */
    covers(length: number): boolean;
}

/** Exclusive locks on byte ranges, granted in the order asked for. */
export declare class RangeLock {
    #private;
    /** Whether somebody holds a byte of [start, end). */
    overlaps(start: number, end: number): boolean;
    /** Runs `body` while nobody else holds a byte of [start, end). */
    with<T>(start: number, end: number, body: () => Promise<T>): Promise<T>;
}

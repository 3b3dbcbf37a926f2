/** Work that must not overlap, in the order it was asked for. Pure. */
/** Each `work` begins when the one before has settled; what it throws is its caller's alone. */
export declare function serial(): <T>(work: () => Promise<T>) => Promise<T>;

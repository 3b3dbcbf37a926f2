/** Names as in /sys/block; none when the path is not there, or lies in memory or on a network. */
export declare function disksOf(path: string): readonly string[];
/** Whether two paths share a disk; null when either's is not known. */
export declare function sameDisk(a: readonly string[], b: readonly string[]): boolean | null;

/** Sizes in words. Pure. */
/** 1073741824 -> "1 GiB", 1500 -> "1500 B", 123456789 -> "117.7 MiB". */
export declare function formatSize(bytes: number | bigint): string;

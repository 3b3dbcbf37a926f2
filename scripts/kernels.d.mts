/** Types of kernels.mjs for test/vm. */
export declare const laterSeries: string
export declare function cachedKernel(series: string): { release: string; folder: string } | null
export declare function cachedNewestKernel(): { release: string; folder: string } | null

/**
 * Throws VOLUME_IN_USE (exit 5) when a tresord serves the file or device at `path`, or has its header there.
 * `purpose`: "create a volume on".
 */
export declare function checkNotOpen(path: string, purpose: string, rootOf?: () => string): void;

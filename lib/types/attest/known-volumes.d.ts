export interface KnownVolume {
    /** From 1. */
    readonly line: number;
    readonly host: string;
    readonly uuid: string;
    readonly digest: string;
}
export declare const knownVolumesPath: () => string;
/** Throws KNOWN_VOLUMES_BAD (exit 2) naming the line. */
export declare function parseKnownVolumes(text: string, path: string): KnownVolume[];
/** The entry of a volume, if it was seen before. */
export declare function knownVolume(path: string, host: string, uuid: string): KnownVolume | undefined;
/** Adds a volume; whole or not at all, and no other process's line is lost. Throws the system's errors. */
export declare function pinVolume(path: string, host: string, uuid: string, digest: string): void;

export interface BlockDevice {
    /** Bytes; offsets and lengths of discards are multiples of it. */
    readonly logicalBlock: number;
    /** Of a loop device, or a partition of one: its name, backing file, and where in that it begins, in bytes. */
    readonly loop: {
        readonly device: string;
        readonly file: string;
        readonly offset: number;
    } | null;
}
/** Absolute, without links; `null`: sysfs does not know it. */
export declare function deviceFolder(number: string, sys?: string): string | null;
export declare function attribute(folder: string, name: string): string | null;
/** What a device's bytes are, from `offset` on: a file's, or the disk's of a partition. */
export type Window = {
    readonly file: string;
    readonly offset: bigint;
} | {
    readonly disk: string;
    readonly offset: bigint;
};
/** `null`: neither a loop device nor a partition. */
export declare function windowOf(folder: string): Window | null;
export declare function blockDevice(rdev: number): BlockDevice;
export declare function blockDeviceSize(rdev: number): number;
export declare function isWriteProtected(rdev: number): boolean;

export interface BlockDevice {
    /** Bytes; offsets and lengths of discards are multiples of it. */
    readonly logicalBlock: number;
    /** Of a whole loop device: its name, backing file, and where in that it begins, in bytes. */
    readonly loop: {
        readonly device: string;
        readonly file: string;
        readonly offset: number;
    } | null;
}
export declare function blockDevice(rdev: number): BlockDevice;
/** The kernel counts a block device in 512-byte units, whatever its sectors are. */
export declare function blockDeviceSize(rdev: number): number;
export declare function isWriteProtected(rdev: number): boolean;

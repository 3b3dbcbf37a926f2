/**
 * What blkid finds on the open file `fd`, by name; "nothing"; `null` when
 * there is no blkid or it fails. `luks`: LUKS counts too.
 */
export declare function probeByBlkid(fd: number, { luks }: {
    readonly luks: boolean;
}, command?: string): Promise<string | "nothing" | null>;

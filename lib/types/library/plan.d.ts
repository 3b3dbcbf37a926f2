import type { Backend } from "../abi/enclave.ts";
import { type NewVolume } from "../keyslots/create.ts";
import type { FreshKeyslot, Keeper } from "../keyslots/parts.ts";
import { type Target } from "./target.ts";
export interface LayoutOptions {
    /** Bytes of a file to be made, or that it must have. */
    readonly size?: bigint;
    /** At most 47 bytes of UTF-8. */
    readonly label?: string;
    /** RFC 9562; default: random. */
    readonly uuid?: string;
    /** Bytes: 512, 1024, 2048 or 4096; default: the disk's own sectors, 4096 in a file. */
    readonly sectorSize?: number;
    /** Bits: 256 or 512 (the default). */
    readonly keySize?: number;
    /** Path of a detached header. */
    readonly header?: string;
    /** Overwrite what is there. */
    readonly force?: boolean;
}
/** What was made. Sizes in bytes, keySize in bits. */
export interface CreatedVolume {
    readonly path: string;
    readonly uuid: string;
    readonly label: string;
    /** Of the file or device. */
    readonly size: number;
    /** Of what clients will have. */
    readonly usable: number;
    readonly dataOffset: number;
    readonly sectorSize: number;
    readonly cipher: string;
    readonly keySize: number;
    readonly backend: Backend;
    readonly keyslot: number;
    readonly recoveryKeyslot: number | null;
}
/** Where a volume goes and what it will be; nothing is changed yet. */
export interface VolumePlan {
    readonly path: string;
    readonly volume: NewVolume;
    readonly data: Target;
    readonly header: Target | null;
}
/**
 * Looks at where the volume is to go. Throws TresorError: TARGET_EXISTS, VOLUME_IN_USE (exit 5), HEADER_IN_DATA,
 * TARGET_UNFIT, DEVICE_TOO_SMALL, SIZE_UNALIGNED (exit 4), SIZE_MISSING, SIZE_FIXED, BAD_UUID, BAD_LABEL (exit 1).
 */
export declare function planVolume(path: string, options: LayoutOptions): Promise<VolumePlan>;
export interface MakeSteps {
    /** Called when all is made and nothing is written, so that no keyslot exists whose recovery key nobody has. */
    readonly deliver?: () => Promise<void>;
    /** Of wiping what was there before: 0 to 1. */
    readonly progress?: (fraction: number) => void;
}
/** Has the enclave make what `plan` says, with these keyslots, and writes it. A file made here goes when that fails. */
export declare function makePlanned(plan: VolumePlan, keeper: Keeper, keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]], { deliver, progress }?: MakeSteps): Promise<CreatedVolume>;

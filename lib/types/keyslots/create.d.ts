/**
 * A new volume: the layout cryptsetup would choose, a volume key the enclave
 * makes and keeps, a first keyslot and, unless refused, one for a recovery key.
 */
import type { LuksHeader } from "../luks2/metadata.ts";
import type { Segment } from "../luks2/types.ts";
import type { Store } from "../store/store.ts";
import { type FreshKeyslot, type Keeper } from "./parts.ts";
/** cryptsetup's default, so that its `reencrypt` and header backups find the room they expect. */
export declare const DATA_OFFSET: bigint;
/**
 * Binary header and JSON area, twice. cryptsetup's 16 KiB hold about five
 * Tresor tokens with their MACs; 128 KiB hold all 32, and leave room for 64
 * areas of 512-bit keys before the data.
 */
export declare const HEADER_SIZE: number;
export interface NewVolume {
    readonly uuid: string;
    readonly label: string;
    readonly sectorSize: Segment["sectorSize"];
    readonly keySize: Segment["keySize"];
    /** Detached header: data starts at 0. */
    readonly detached: boolean;
    readonly headerSize: number;
}
export interface MadeVolume {
    readonly header: LuksHeader;
    readonly areas: readonly {
        readonly offset: bigint;
        readonly bytes: Uint8Array;
    }[];
    /** Keyslot numbers, in the order of `keyslots`. */
    readonly slots: readonly number[];
}
/**
 * Throws DEVICE_TOO_SMALL or SIZE_UNALIGNED (exit 4) when `size` bytes cannot
 * hold a volume.
 */
export declare function checkSize(size: bigint, { detached, sectorSize }: NewVolume, path: string): void;
/** UUID of RFC 9562 in lower case. Throws BAD_UUID (exit 1). */
export declare function checkUuid(uuid: string): string;
/** A label fits 47 bytes and the NUL after them. Throws BAD_LABEL (exit 1). */
export declare function checkLabel(label: string): string;
/**
 * Has the enclave make the volume key and its keyslots. The first is made with
 * the key; each further one is proved by the first. Nothing is written yet.
 */
export declare function makeVolume({ enclave, seal }: Keeper, volume: NewVolume, keyslots: readonly [FreshKeyslot, ...FreshKeyslot[]], path: string): Promise<MadeVolume>;
/**
 * Writes a volume's header where nothing is to be kept: what another format or
 * an older header left there must not be found again. `progress`: 0 to 1.
 */
export declare function writeVolume(device: Store, { header, areas }: MadeVolume, { wipeOld, progress }: {
    readonly wipeOld: boolean;
    readonly progress: (fraction: number) => void;
}): Promise<void>;

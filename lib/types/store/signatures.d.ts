/**
 * Recognises formats other than LUKS2 on a device or file, by the magic
 * numbers that other programs look for; some lie at its end. Used where
 * blkid(8) is not there (store/blkid.ts), and for what blkid does not know.
 * Pure.
 */
import type { Store } from "./store.ts";
/** A device whose signatures are looked for. */
export type Readable = Pick<Store, "size" | "read">;
/** What is kept there, by name; `null`: nothing that is known. `luks`: LUKS counts too. */
export declare function findSignature(device: Readable, { luks }: {
    readonly luks: boolean;
}): Promise<string | null>;
/**
 * The same where blkid has found nothing: what it does not look for. With
 * `luks` a new volume is to be made, and remains of others count as well.
 */
export declare function findUnknownToBlkid(device: Readable, { luks }: {
    readonly luks: boolean;
}): Promise<string | null>;

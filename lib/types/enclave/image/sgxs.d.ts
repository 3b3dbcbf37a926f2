import { type EnclaveImage } from "./elf.ts";
export interface Sha256 {
    update(bytes: Uint8Array): unknown;
    digest(): Uint8Array;
}
/** `() => createHash("sha256")`. */
export type NewSha256 = () => Sha256;
export interface Measurement {
    readonly mrenclave: Uint8Array;
    /** ELRANGE, bytes. */
    readonly size: number;
    /** Pages per SSA frame. */
    readonly ssaFrameSize: number;
    /** Pages added. */
    readonly pages: number;
    /** Bytes added whose content is not measured. */
    readonly heap: number;
    /** TCS pages. */
    readonly threads: number;
}
/**
 * The stream, piece by piece. A piece is only valid until the next is asked
 * for: an image has up to half a million of them, and they share buffers.
 */
export declare function sgxsStream(image: EnclaveImage): Generator<Uint8Array>;
/** MRENCLAVE and size of an image. */
export declare function measureImage(image: EnclaveImage, newSha256: NewSha256): Measurement;
export declare function isSgxs(bytes: Uint8Array): boolean;
/**
 * Reads and measures an .sgxs file. Checks what ECREATE, EADD and EEXTEND
 * check. Throws TresorError IMAGE_BAD_SGXS naming the record.
 */
export declare function measureSgxs(bytes: Uint8Array, newSha256: NewSha256): Measurement;

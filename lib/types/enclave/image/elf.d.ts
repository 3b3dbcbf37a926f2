import type { EnclaveConf } from "./conf.ts";
export declare const PAGE_SIZE = 4096;
/** SECINFO.FLAGS (SDM 3D, 38.11). */
export declare const Secinfo: {
    readonly r: 1;
    readonly w: 2;
    readonly x: 4;
    readonly tcs: 256;
    readonly reg: 512;
    readonly typeMask: 65280;
};
export interface ImageSegment {
    /** Bytes from the enclave's base; page aligned. */
    readonly offset: number;
    /** Bytes; whole pages. */
    readonly size: number;
    /** The file's bytes; what `size` has beyond them is zero. A view of the ELF. */
    readonly data: Uint8Array;
    /** R1 W2 X4 | page type << 8; TCS pages have no permission bits. */
    readonly secinfoFlags: number;
    /** False: EADD only. The content is not attested and the enclave trusts none of it. */
    readonly measured: boolean;
    readonly kind: "tcs" | "reg" | "heap";
}
export interface Thread {
    /** Of the TCS page. */
    readonly offset: number;
    readonly ossa: number;
    readonly nssa: number;
    readonly oentry: number;
    readonly ofsBase: number;
    readonly ogsBase: number;
}
export interface EnclaveImage {
    /** ELRANGE. */
    readonly size: number;
    /** Pages. */
    readonly ssaFrameSize: number;
    /** MISCSELECT, ATTRIBUTES.FLAGS and XFRM for the SECS, before any the SIGSTRUCT's masks leave open. */
    readonly miscSelect: number;
    readonly attributes: bigint;
    readonly xfrm: bigint;
    /** In load order. */
    readonly segments: readonly ImageSegment[];
    readonly threads: readonly Thread[];
    /** Bytes added but not measured. */
    readonly heapSize: number;
    /** Range that is not added at load: EAUG on SGX2, committed on demand by the software backend. */
    readonly dynamic: {
        readonly offset: number;
        readonly size: number;
    } | null;
    /** Offset of the one ENCLU instruction; two bytes of nop follow it. */
    readonly encluSite: number;
}
export declare function isElf(bytes: Uint8Array): boolean;
/** Throws TresorError IMAGE_REFUSED naming the first fact that disqualifies the file. */
export declare function parseImage(bytes: Uint8Array, conf: EnclaveConf): EnclaveImage;

export interface EnclaveConf {
    /** ELRANGE, bytes; a power of two. */
    readonly size: number;
    /** Pages per SSA frame. */
    readonly ssaFrameSize: number;
    readonly isvProdId: number;
    readonly isvSvn: number;
    /** MISCSELECT; its mask in the SIGSTRUCT is always all ones. */
    readonly miscSelect: number;
    /** ATTRIBUTES.FLAGS of a production enclave: DEBUG and INIT are 0. */
    readonly attributes: bigint;
    readonly attributeMask: bigint;
    readonly xfrm: bigint;
    readonly xfrmMask: bigint;
}
export declare const Attribute: {
    readonly init: bigint;
    readonly debug: bigint;
    readonly mode64: bigint;
    readonly provisionKey: bigint;
    readonly einitTokenKey: bigint;
    readonly cet: bigint;
    readonly kss: bigint;
    readonly aexNotify: bigint;
};
/** x87 and SSE state: ECREATE refuses an XFRM without them. */
export declare const XFRM_LEGACY = 3n;
/** Throws TresorError IMAGE_BAD_CONF naming the line. */
export declare function parseConf(text: string): EnclaveConf;

import { type Crl, type PckExtension, type X509 } from "./certificates.ts";
import { type Collateral } from "./collateral.ts";
import { type QeIdentity, type TcbInfo } from "./tcb.ts";
export interface Signer {
    readonly collateral: Collateral;
    readonly root: X509;
    readonly rootCrl: Crl;
    readonly at: Date;
}
/** Of the platform when there is one, else another's, which checkSamePlatform refuses. */
export declare function signedTcbInfo(pck: Pick<PckExtension, "fmspc" | "pceId">, signer: Signer): Promise<TcbInfo>;
export declare function signedQeIdentity(signer: Signer): Promise<QeIdentity>;
/**
 * The TCB evaluation data number that this collateral can be held to: the
 * lowest of its platforms' and its QE identity's, of the newest for each.
 * Throws Refusal when it is not genuine or not valid then.
 */
export declare function evaluationNumber(collateral: Collateral, rootKey: Uint8Array, at: Date): Promise<number>;

import { type Crl, type X509 } from "./certificates.ts";
import { type Collateral } from "./collateral.ts";
import type { Quote } from "./quote.ts";
export interface Chain {
    readonly leaf: X509;
    readonly intermediate: X509;
    readonly root: X509;
}
/** What the first of `candidates` gives that holds; else the first one's Refusal. There must be one. */
export declare function firstThatHolds<T, R>(candidates: readonly T[], check: (candidate: T) => Promise<R>): Promise<R>;
/** The leaf and its CA of the quote where it has them, else of the collateral; the root from either. */
export declare function pckChain(quote: Quote, collateral: Collateral, rootKey: Uint8Array, at: Date): Promise<Chain>;
/** The newest CRL of that issuer that there was at that time, checked. */
export declare function currentCrl(collateral: Collateral, issuer: X509, at: Date): Promise<Crl>;
export declare function checkNotRevoked(certificate: X509, crl: Crl): void;

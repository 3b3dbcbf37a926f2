/**
 * The only way a passphrase leaves this process: encrypted to an enclave that
 * has shown what it is, for one purpose on one volume, once.
 */
import { type Asked } from "../enclave/asked.ts";
import type { Enclave, Purpose, SealedRequest } from "../enclave/types.ts";
import type { Attester, Surroundings } from "./surroundings.ts";
/** An enclave one can ask: our own, or a tresord's. */
export interface Askable extends Attester {
    /** `parameters`: what a tresord says its request is about; nobody has to believe it. */
    challenge(purpose: Purpose): Promise<{
        readonly nonce: Uint8Array;
        readonly parameters: Uint8Array;
    }>;
}
interface Secrets {
    readonly existing?: Uint8Array;
    readonly fresh?: Uint8Array;
}
/**
 * An enclave that has been assessed by policy or known-enclaves. Only this can
 * seal, so nothing is sealed to an enclave nobody has looked at.
 */
export declare class TrustedEnclave {
    #private;
    private constructor();
    /** Throws when the enclave is not the one the policy or the first contact named. */
    static assess(enclave: Askable, options: {
        readonly policy?: string | undefined;
        readonly host?: string;
        readonly startedHere: boolean;
    }, 
    /** Who is asked at first contact, and informed of the findings; default: nobody. */
    world?: Partial<Surroundings>): Promise<TrustedEnclave>;
    /** Seals for what this process asks. */
    seal(asked: Asked, secrets: Secrets): Promise<SealedRequest>;
    /** Seals for what is asked after the tresord has said what there is; `decide` may refuse. */
    sealFor(purpose: Purpose, decide: (parameters: Uint8Array) => Promise<Asked>, secrets: Secrets): Promise<SealedRequest>;
}
/**
 * Loads what `assess` and `seal` run, the latter by a sealed request for nobody:
 * for the time in which something else is waited for. What fails here fails again there.
 */
export declare function rehearse(): Promise<void>;
/** An enclave of this process. */
export declare function askEnclave(enclave: Enclave): Askable;
export {};

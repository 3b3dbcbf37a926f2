import type { Attester, Surroundings } from "./surroundings.ts";
export interface AssessOptions {
    /** Policy file; then nothing is pinned or asked. */
    readonly policy?: string | undefined;
    /** `user@host` of a remote enclave; absent: of this machine. */
    readonly host?: string | undefined;
    /** Its process was started by this one: what it says of itself is as good as this program, and pinned. */
    readonly startedHere?: boolean;
}
/** Resolves when a passphrase may be sealed to `enclave.identity.publicKey`; else throws TresorError, exit 2. */
export declare function assessEnclave(enclave: Attester, options?: AssessOptions, given?: Partial<Surroundings>): Promise<void>;

import { type SgxMachine } from "../enclave/sgx-state.ts";
import type { EnclaveIdentity } from "../enclave/types.ts";
/** "yes": there; "no": absent, something is worse for it; "info": absent or partial, nothing depends on it here. */
type State = "yes" | "no" | "info";
export interface DoctorCheck {
    readonly id: string;
    readonly name: string;
    readonly state: State;
    readonly found: string;
    readonly means: string;
    /** null: nothing to do. */
    readonly remedy: string | null;
}
/** What the checks look at; tests give a machine of their own. */
export interface Machine extends SgxMachine {
    list(path: string): readonly string[];
    has(program: string): boolean;
    /** The machine secret, and the disks it lies on. */
    secret(): {
        readonly file: string;
        readonly disks: readonly string[];
    };
    /** Errno of memfd_secret(2); `null`: it works. */
    readonly secretMemoryFault: string | null;
    /** The key that signs what is built here; `null`: there is none, as in an installed package. */
    readonly signerKey: string | null;
}
/** Every check of `machine` and of its enclave, or of why that did not start. */
export declare function examine(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[];
/** Looks at this machine. Whatever is missing is a finding, never an error. */
export declare function examineMachine(): Promise<readonly DoctorCheck[]>;
export {};

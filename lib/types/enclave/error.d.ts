/** Statuses of the enclave as errors: ENCLAVE_<STATUS>, one line each. */
import { Status } from "../abi/enclave.ts";
import { TresorError } from "../base/errors.ts";
import type { HeaderFacts } from "./types.ts";
export type StatusName = Exclude<keyof typeof Status, "ok">;
export declare const enclaveCode: (status: StatusName) => "ENCLAVE_BUSY" | "ENCLAVE_DEAD" | "ENCLAVE_HANDLE" | "ENCLAVE_HEADER" | "ENCLAVE_MEMORY" | "ENCLAVE_MESSAGE" | "ENCLAVE_PASSPHRASE" | "ENCLAVE_RANDOM" | "ENCLAVE_REQUEST" | "ENCLAVE_SEAL_BACKEND" | "ENCLAVE_SEAL_DAMAGED" | "ENCLAVE_SEAL_ENCLAVE" | "ENCLAVE_SEAL_MACHINE" | "ENCLAVE_SEAL_SIGNER" | "ENCLAVE_SEAL_VERSION" | "ENCLAVE_STATE" | "ENCLAVE_UNSUPPORTED";
/** What is known beyond the status. */
export interface EnclaveErrorFacts {
    /** With "header": what differs. */
    readonly header?: HeaderFacts;
    /** With "passphrase": why a sealed keyslot could not even be tried. */
    readonly seal?: StatusName | null;
    /** KiB a keyslot's KDF asked for and did not get. */
    readonly neededKib?: number;
}
export declare class EnclaveError extends TresorError {
    readonly status: StatusName;
    readonly facts: HeaderFacts | undefined;
    readonly seal: StatusName | null;
    readonly neededKib: number;
    constructor(status: StatusName, facts?: EnclaveErrorFacts);
}
/** Name of a status number; `null` for TRESOR_OK. */
export declare function statusName(status: number): StatusName | null;
/** The enclave is gone: a fault inside, or its memory was taken. `fault`: what the CPU reported of it. */
export declare function enclaveLost(fault: string | null): TresorError;

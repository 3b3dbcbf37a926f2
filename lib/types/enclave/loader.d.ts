import type { Backend } from "../abi/enclave.ts";
import { TresorError } from "../base/errors.ts";
import { EnclaveClient } from "./client.ts";
import { type SgxMachine } from "./sgx-state.ts";
import type { EnclaveOptions } from "./types.ts";
/** This machine, as it is at the time of asking. */
export declare const thisMachine: SgxMachine;
/** `auto`: the hardware where there is a device, though it may be refused: nothing gets less protection unasked. */
export declare function chooseBackend(wanted: Backend | "auto", machine?: SgxMachine): Backend;
/** Throws TresorError: NOT_BUILT, TRANSITION_REAL, SGX_<CHECK>, MACHINE_SECRET_REFUSED, ENCLAVE_<STATUS>. */
export declare function openEnclave(options: EnclaveOptions): Promise<EnclaveClient>;
/** Why the enclave did not start, and the way out. */
export declare function explain(error: unknown, backend: Backend, machine?: SgxMachine): TresorError;

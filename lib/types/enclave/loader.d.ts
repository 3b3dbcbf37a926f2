import type { Backend } from "../abi/enclave.ts";
import { TresorError } from "../base/errors.ts";
import { EnclaveClient } from "./client.ts";
import { type SgxMachine } from "./sgx-state.ts";
import type { EnclaveStart } from "./types.ts";
import { VectorsClient } from "./vectors.ts";
/** This machine, as it is at the time of asking. */
export declare const thisMachine: SgxMachine;
/** `auto`: the hardware where there is a device, though it may be refused: nothing gets less protection unasked. */
export declare function chooseBackend(wanted: Backend | "auto", machine?: SgxMachine): Backend;
/** Throws TresorError: NOT_BUILT, TRANSITION_REAL, SGX_<CHECK>, MACHINE_SECRET_REFUSED, ENCLAVE_<STATUS>. */
export declare function openEnclave(options: EnclaveStart): Promise<EnclaveClient>;
/**
 * The image of the published vectors. It has nothing to unseal, so the software
 * backend gives it a machine secret of its own. Throws as openEnclave does.
 */
export declare function openVectors(options: Pick<EnclaveStart, "backend" | "cpu">): Promise<VectorsClient>;
/** Why the enclave did not start, and the way out. */
export declare function explain(error: unknown, backend: Backend, machine?: SgxMachine): TresorError;

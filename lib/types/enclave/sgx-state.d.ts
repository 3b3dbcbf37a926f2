/**
 * Whether this machine can run the enclave in hardware, and what is missing where it cannot. `--backend
 * auto`, the errors of a refused start and `tresor doctor` all say what is decided here. Pure.
 */
import type { SgxCpu } from "../native/addon.ts";
/** What is looked at. */
export interface SgxMachine {
    /** Contents of a file, or null. */
    read(path: string): string | null;
    exists(path: string): boolean;
    /** Whether this user may read and write it. */
    accessible(path: string): boolean;
    readonly sgxCpu: SgxCpu;
    /** `uname -r`. */
    readonly kernel: string;
}
export declare const SGX_DEVICE = "/dev/sgx_enclave";
export interface SgxState {
    /** "denied": there, but not for this user. */
    readonly device: "ready" | "denied" | "absent";
    /** Whether the processor has SGX, or somebody once set it up. */
    readonly sgx: boolean;
    readonly found: string;
    /** null: nothing to do. */
    readonly remedy: string | null;
}
export declare function atLeast(kernel: string, major: number, minor: number): boolean;
/** What /proc/cpuinfo has. Linux takes `sgx` away when the BIOS has locked launch control or switched SGX off. */
export declare function cpuField(machine: Pick<SgxMachine, "read">, name: string): string;
export declare const LAUNCH_CONTROL_REMEDY = "in the BIOS set-up enable SGX and set its launch control policy to unlocked: Linux's driver takes no locked one";
export declare function sgxState(machine: SgxMachine): SgxState;

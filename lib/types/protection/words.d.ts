/**
 * What a backend protects from which attacker, in the words of `status`, `doctor` and
 * `demo`. The weakest memory a secret can lie in decides: nothing is promised
 * beyond it. Pure.
 */
import type { Backend } from "../abi/enclave.ts";
import type { MemoryKinds } from "../native/addon.ts";
export interface Protection {
    readonly protected: readonly string[];
    readonly exposed: readonly string[];
}
export declare function describeMemory(kind: string): string;
export declare function weakest(memory: MemoryKinds): string;
export declare function protection(backend: Backend, memory: MemoryKinds): Protection;
export declare function placeOf(path: string, disks: readonly string[]): string;
/** What the machine secret is worth. `shared`: whether the volume lies on the same disk; null: not known. */
export declare function secretRisk(shared: boolean | null): string;

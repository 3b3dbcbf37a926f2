/**
 * What a machine's settings add to the software backend, one judgement each.
 * All of them narrow what root can do; none makes root harmless, and no word
 * here says so: perf and BPF read any process for root under every setting.
 * Sources: Linux' Documentation/admin-guide/{LSM/Yama,sysctl/kernel,kernel-parameters},
 * kernel_lockdown(7), memfd_secret(2), and for what lockdown leaves open
 * kernel/events/core.c and kernel/trace/bpf_trace.c. Pure.
 */
/** `null`: this kernel does not say, or does not have it. */
export interface MachineFacts {
    /** kernel.yama.ptrace_scope */
    readonly ptraceScope: number | null;
    /** /sys/kernel/security/lockdown */
    readonly lockdown: "none" | "integrity" | "confidentiality" | null;
    /** kernel.perf_event_paranoid */
    readonly perfParanoid: number | null;
    /** kernel.unprivileged_bpf_disabled */
    readonly unprivilegedBpfDisabled: number | null;
    /** proc_mem.force_override= of the command line */
    readonly procMem: "always" | "ptrace" | "never" | null;
    /** Whether modules can be loaded at all, and unsigned ones. */
    readonly modules: "none" | "signed" | "any";
    /** kernel.kexec_load_disabled */
    readonly kexecDisabled: number | null;
    /** Whether the kernel would write a hibernation image, if nothing held it back. */
    readonly hibernates: boolean;
    /** Whether memfd_secret(2) is in use: the kernel does not hibernate then. */
    readonly secretMemory: boolean;
}
/** "closed": the way is shut, to root too; "narrowed": to some; "open": to nobody who could not anyway. */
export type Verdict = "closed" | "narrowed" | "open";
export interface Judgement {
    readonly id: string;
    readonly name: string;
    readonly verdict: Verdict;
    readonly found: string;
    /** What that adds. */
    readonly means: string;
    /** null: nothing to do. */
    readonly remedy: string | null;
}
/** In the order in which they are shown. Of no use to the keys of an SGX enclave, which is told apart by the caller. */
export declare function judge(facts: MachineFacts): readonly Judgement[];

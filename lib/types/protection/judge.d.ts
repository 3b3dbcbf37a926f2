/**
 * Judges what each setting of a machine adds to the software backend.
 * Each of them restricts root; none makes root harmless, and no text here claims
 * that: with perf and BPF, root reads any process under every setting.
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
/** "closed": closed to root too; "narrowed": closed to some; "open": no restriction by this setting. */
export type Openness = "closed" | "narrowed" | "open";
export interface Judgement {
    readonly id: string;
    readonly name: string;
    readonly verdict: Openness;
    readonly found: string;
    /** What that adds. */
    readonly means: string;
    /** null: nothing to do. */
    readonly remedy: string | null;
}
/** In the order shown. Irrelevant for the keys of an SGX enclave; the caller checks that. */
export declare function judge(facts: MachineFacts): readonly Judgement[];

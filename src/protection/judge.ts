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
  readonly ptraceScope: number | null
  /** /sys/kernel/security/lockdown */
  readonly lockdown: "none" | "integrity" | "confidentiality" | null
  /** kernel.perf_event_paranoid */
  readonly perfParanoid: number | null
  /** kernel.unprivileged_bpf_disabled */
  readonly unprivilegedBpfDisabled: number | null
  /** proc_mem.force_override= of the command line */
  readonly procMem: "always" | "ptrace" | "never" | null
  /** Whether modules can be loaded at all, and unsigned ones. */
  readonly modules: "none" | "signed" | "any"
  /** kernel.kexec_load_disabled */
  readonly kexecDisabled: number | null
  /** Whether the kernel would write a hibernation image, if nothing held it back. */
  readonly hibernates: boolean
  /** Whether memfd_secret(2) is in use: the kernel does not hibernate then. */
  readonly secretMemory: boolean
}

/** "closed": closed to root too; "narrowed": closed to some; "open": no restriction by this setting. */
export type Openness = "closed" | "narrowed" | "open"

export interface Judgement {
  readonly id: string
  readonly name: string
  readonly verdict: Openness
  readonly found: string
  /** What that adds. */
  readonly means: string
  /** null: nothing to do. */
  readonly remedy: string | null
}

type Said = Omit<Judgement, "id" | "name">

function ptrace({ ptraceScope }: MachineFacts): Said {
  const found = ptraceScope === null ? "no Yama in this kernel" : `kernel.yama.ptrace_scope ${ptraceScope}`
  if (ptraceScope === 3) {
    return {
      verdict: "closed",
      found,
      means:
        "no process, not even root's, can attach a debugger to tresord or open its /proc/PID/mem until the next boot",
      remedy: null,
    }
  }
  return {
    verdict: "open",
    found,
    means:
      "root can attach a debugger and make tresord write out its keys; other users cannot, as tresord is not dumpable",
    remedy:
      ptraceScope === null
        ? "run a kernel with Yama and set kernel.yama.ptrace_scope=3"
        : "set sysctl kernel.yama.ptrace_scope=3: forbids it to root too until the next boot, and disables every debugger",
  }
}

function procMem({ procMem: setting, ptraceScope }: MachineFacts): Said {
  const found = setting === null ? "proc_mem.force_override is not set at boot" : `proc_mem.force_override=${setting}`
  const never = { verdict: "closed", means: "no process can overwrite tresord's code through /proc/PID/mem" } as const
  if (setting === "never") return { ...never, found, remedy: null }
  if (ptraceScope === 3) return { ...never, found: `${found}; ptrace_scope 3 does the same`, remedy: null }
  if (setting === "ptrace") {
    return {
      verdict: "narrowed",
      found,
      means: "only an attached debugger can overwrite tresord's code through /proc/PID/mem",
      remedy: null,
    }
  }
  return {
    verdict: "open",
    found,
    means: "root can overwrite tresord's code through /proc/PID/mem, unless this kernel was built to forbid it",
    remedy: "boot Linux 6.12 or newer with proc_mem.force_override=never",
  }
}

function lockdown({ lockdown: mode }: MachineFacts): Said {
  const found = mode === null ? "no lockdown in this kernel" : `lockdown ${mode}`
  const remedy = mode === null ? "run a kernel with CONFIG_SECURITY_LOCKDOWN_LSM" : "boot with lockdown=confidentiality"
  switch (mode) {
    case "confidentiality":
      return {
        verdict: "narrowed",
        found,
        means:
          "root can neither change nor read the running kernel, nor use tracefs and kprobes; perf and BPF still read tresord",
        remedy: null,
      }
    case "integrity":
      return {
        verdict: "narrowed",
        found,
        means: "changes of the running kernel are refused to root; tracefs, perf and BPF still read tresord",
        remedy,
      }
    default:
      return {
        verdict: "open",
        found,
        means: "root can put code into the running kernel, which reads all memory",
        remedy,
      }
  }
}

function perf({ perfParanoid }: MachineFacts): Said {
  if (perfParanoid === null) {
    return {
      verdict: "closed",
      found: "no perf in this kernel",
      means: "no process can sample tresord with perf",
      remedy: null,
    }
  }
  const found = `kernel.perf_event_paranoid ${perfParanoid}`
  const root = "root can sample tresord's stack and registers"
  if (perfParanoid >= 3)
    return {
      verdict: "narrowed",
      found,
      means: `other users cannot use perf, if this kernel supports the value 3; ${root}`,
      remedy: null,
    }
  if (perfParanoid === 2)
    return {
      verdict: "narrowed",
      found,
      means: `other users can measure their own programs only; ${root}`,
      remedy: null,
    }
  return {
    verdict: "open",
    found,
    means: `other users can measure the kernel, which reveals tresord's timing; ${root}`,
    remedy: "set sysctl kernel.perf_event_paranoid=2, or 3 on Debian",
  }
}

function bpf({ unprivilegedBpfDisabled: disabled }: MachineFacts): Said {
  if (disabled === null) {
    return {
      verdict: "closed",
      found: "no bpf(2) in this kernel",
      means: "no process can run BPF programs",
      remedy: null,
    }
  }
  const found = `kernel.unprivileged_bpf_disabled ${disabled}`
  return disabled > 0
    ? {
        verdict: "narrowed",
        found,
        means: "other users cannot load BPF programs, which help Spectre attacks; root's BPF programs read tresord",
        remedy: null,
      }
    : {
        verdict: "open",
        found,
        means: "other users can load BPF programs, which help Spectre attacks; root's BPF programs read tresord",
        remedy: "set sysctl kernel.unprivileged_bpf_disabled=1",
      }
}

const locked = ({ lockdown: mode }: MachineFacts): boolean => mode === "integrity" || mode === "confidentiality"

function modules(facts: MachineFacts): Said {
  if (facts.modules === "none") {
    return {
      verdict: "closed",
      found: "no modules can be loaded",
      means: "root can load no code into the kernel this way",
      remedy: null,
    }
  }
  if (facts.modules === "signed" || locked(facts)) {
    return {
      verdict: "narrowed",
      found: "only signed modules",
      means: "root can load only modules signed with a key that the kernel trusts",
      remedy: null,
    }
  }
  return {
    verdict: "open",
    found: "unsigned modules too",
    means: "root can load a module that reads all memory",
    remedy: "boot with module.sig_enforce=1 or lockdown=integrity; tresor.ko must then be signed",
  }
}

function kexec(facts: MachineFacts): Said {
  const { kexecDisabled } = facts
  const closed = {
    verdict: "closed",
    means: "no other kernel can be booted over this one; it would find the keys in memory",
    remedy: null,
  } as const
  if (kexecDisabled === null) return { ...closed, found: "no kexec in this kernel" }
  if (kexecDisabled !== 0) return { ...closed, found: "kernel.kexec_load_disabled 1" }
  if (locked(facts)) {
    return {
      verdict: "narrowed",
      found: "only signed kernels",
      means: "root can boot only a signed kernel over this one",
      remedy: null,
    }
  }
  return {
    verdict: "open",
    found: "kernel.kexec_load_disabled 0",
    means: "root can boot another kernel over this one, which finds the keys in memory",
    remedy: "set sysctl kernel.kexec_load_disabled=1 (until the next boot)",
  }
}

function hibernation(facts: MachineFacts): Said {
  const closed = { verdict: "closed", remedy: null } as const
  if (facts.secretMemory)
    return {
      ...closed,
      found: "refused while a volume is open",
      means: "the kernel does not hibernate while memfd_secret is in use",
    }
  if (!facts.hibernates || locked(facts))
    return { ...closed, found: "this kernel does not hibernate", means: "no memory image is written to the disk" }
  return {
    verdict: "open",
    found: "possible",
    means: "a hibernation image would hold keys: lock the volume first",
    remedy: "boot with nohibernate, or make memfd_secret available",
  }
}

const PARTS = [
  ["ptrace", "debuggers", ptrace],
  ["proc-mem", "writes to code", procMem],
  ["lockdown", "kernel lockdown", lockdown],
  ["perf", "perf", perf],
  ["bpf", "BPF", bpf],
  ["modules", "kernel modules", modules],
  ["kexec", "kexec", kexec],
  ["hibernation", "hibernation", hibernation],
] as const

/** In the order shown. Irrelevant for the keys of an SGX enclave; the caller checks that. */
export function judge(facts: MachineFacts): readonly Judgement[] {
  return PARTS.map(([id, name, of]) => ({ id, name, ...of(facts) }))
}

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

/** "closed": the way is shut, to root too; "narrowed": to some; "open": to nobody who could not anyway. */
export type Verdict = "closed" | "narrowed" | "open"

export interface Judgement {
  readonly id: string
  readonly name: string
  readonly verdict: Verdict
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
    means: "root attaches a debugger and makes tresord write its keys out; other users cannot, it is not dumpable",
    remedy:
      ptraceScope === null
        ? "run a kernel with Yama and set kernel.yama.ptrace_scope=3"
        : "sysctl kernel.yama.ptrace_scope=3 forbids it to root too, until the next boot; no debugger works then",
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
      means: "only a debugger that is attached writes over tresord's code through /proc/PID/mem",
      remedy: null,
    }
  }
  return {
    verdict: "open",
    found,
    means: "root writes over tresord's code through /proc/PID/mem, unless this kernel was built to forbid it",
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
          "root does not change the running kernel, nor read it, nor use tracefs and kprobes; perf and BPF still read tresord",
        remedy: null,
      }
    case "integrity":
      return {
        verdict: "narrowed",
        found,
        means: "root does not change the running kernel; tracefs, perf and BPF still read tresord",
        remedy,
      }
    default:
      return {
        verdict: "open",
        found,
        means: "root puts code into the running kernel, and that reads all memory",
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
  const root = "root samples tresord's stack and registers"
  if (perfParanoid >= 3)
    return {
      verdict: "narrowed",
      found,
      means: `other users have no perf at all, where this kernel knows 3; ${root}`,
      remedy: null,
    }
  if (perfParanoid === 2)
    return { verdict: "narrowed", found, means: `other users measure their own programs only; ${root}`, remedy: null }
  return {
    verdict: "open",
    found,
    means: `other users measure the kernel, which tells them about tresord's timing; ${root}`,
    remedy: "sysctl kernel.perf_event_paranoid=2, or 3 on Debian",
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
        means: "other users load no BPF program, a help to Spectre; root's BPF programs read tresord",
        remedy: null,
      }
    : {
        verdict: "open",
        found,
        means: "other users load BPF programs, a help to Spectre; root's read tresord",
        remedy: "sysctl kernel.unprivileged_bpf_disabled=1",
      }
}

const locked = ({ lockdown: mode }: MachineFacts): boolean => mode === "integrity" || mode === "confidentiality"

function modules(facts: MachineFacts): Said {
  if (facts.modules === "none") {
    return {
      verdict: "closed",
      found: "no modules can be loaded",
      means: "root loads no code into the kernel this way",
      remedy: null,
    }
  }
  if (facts.modules === "signed" || locked(facts)) {
    return {
      verdict: "narrowed",
      found: "only signed modules",
      means: "root loads into the kernel only what somebody signed whose key it knows",
      remedy: null,
    }
  }
  return {
    verdict: "open",
    found: "unsigned modules too",
    means: "root loads a module that reads all memory",
    remedy: "boot with module.sig_enforce=1 or lockdown=integrity; tresor.ko must be signed then",
  }
}

function kexec(facts: MachineFacts): Said {
  const { kexecDisabled } = facts
  const closed = {
    verdict: "closed",
    means: "root starts no other kernel over this one, which would find the keys",
    remedy: null,
  } as const
  if (kexecDisabled === null) return { ...closed, found: "no kexec in this kernel" }
  if (kexecDisabled !== 0) return { ...closed, found: "kernel.kexec_load_disabled 1" }
  if (locked(facts)) {
    return {
      verdict: "narrowed",
      found: "only signed kernels",
      means: "root starts only a signed kernel over this one",
      remedy: null,
    }
  }
  return {
    verdict: "open",
    found: "kernel.kexec_load_disabled 0",
    means: "root starts another kernel over this one, which finds the keys in memory",
    remedy: "sysctl kernel.kexec_load_disabled=1, until the next boot",
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
    return { ...closed, found: "this kernel does not hibernate", means: "no image of memory gets to the disk" }
  return {
    verdict: "open",
    found: "possible",
    means: "an image on the disk would hold keys: lock the volume first",
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

/** In the order in which they are shown. Of no use to the keys of an SGX enclave, which is told apart by the caller. */
export function judge(facts: MachineFacts): readonly Judgement[] {
  return PARTS.map(([id, name, of]) => ({ id, name, ...of(facts) }))
}

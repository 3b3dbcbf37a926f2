/** Reads the facts for judge.ts from /proc and /sys, through a reader that the caller (or a test) provides. */
import type { MachineFacts } from "./judge.ts"

export interface Files {
  /** Contents of a file, or null. */
  read(path: string): string | null
  exists(path: string): boolean
}

function number(text: string | null): number | null {
  const value = text?.trim() ?? ""
  return /^-?\d{1,4}$/.test(value) ? Number(value) : null
}

/** "none [integrity] confidentiality" -> "integrity" */
const chosen = (text: string | null): string | null => /\[([^\]]+)\]/.exec(text ?? "")?.[1] ?? null

const oneOf = <T extends string>(text: string | null | undefined, words: readonly T[]): T | null =>
  words.find((word) => word === text) ?? null

export function readMachine(files: Files, secretMemory: boolean): MachineFacts {
  const sysctl = (name: string) => number(files.read(`/proc/sys/kernel/${name}`))
  // The last one counts, as for the kernel.
  const override = (files.read("/proc/cmdline") ?? "").match(/(?<=(?:^|\s)proc_mem\.force_override=)\S+/g)?.at(-1)
  const noModules = !files.exists("/proc/modules") || sysctl("modules_disabled") === 1
  const enforced = files.read("/sys/module/module/parameters/sig_enforce")?.trim() === "Y"
  const states = (files.read("/sys/power/state") ?? "").split(/\s+/)
  return {
    ptraceScope: sysctl("yama/ptrace_scope"),
    lockdown: oneOf(chosen(files.read("/sys/kernel/security/lockdown")), ["none", "integrity", "confidentiality"]),
    perfParanoid: sysctl("perf_event_paranoid"),
    unprivilegedBpfDisabled: sysctl("unprivileged_bpf_disabled"),
    procMem: oneOf(override, ["always", "ptrace", "never"]),
    modules: noModules ? "none" : enforced ? "signed" : "any",
    kexecDisabled: sysctl("kexec_load_disabled"),
    hibernates: states.includes("disk") && chosen(files.read("/sys/power/disk")) !== "disabled",
    secretMemory,
  }
}

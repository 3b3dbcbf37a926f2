/** tresor.ko as sysfs shows it. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const MODULE = "/sys/module/tresor"
const DEVICE = "/sys/class/misc/tresor"

export interface ModuleStatus {
  readonly version: string
  /** Counts since the module was loaded, of all daemons; kernel/counters.c. */
  readonly counters: Readonly<Record<string, number>>
  /** Requests inside now. */
  readonly queueDepth: number
  readonly daemons: readonly { readonly pid: number; readonly kind: "volume" | "legacy"; readonly stopped: boolean }[]
  readonly parameters: Readonly<Record<string, string>>
}

const text = (path: string) => readFileSync(path, "utf8").trim()

function counters(): Record<string, number> {
  const directory = join(DEVICE, "counters")
  return Object.fromEntries(readdirSync(directory).map((name) => [name, Number(text(join(directory, name)))]))
}

/** An unset string is the kernel's printf of NULL. */
const setting = (value: string): string => (value === "(null)" ? "none" : value)

/** `null`: not loaded. */
export function readModule(): ModuleStatus | null {
  if (!existsSync(DEVICE)) return null
  const parameters = join(MODULE, "parameters")
  return {
    version: text(join(MODULE, "version")),
    counters: counters(),
    queueDepth: Number(text(join(DEVICE, "queue_depth"))),
    daemons: text(join(DEVICE, "daemons"))
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [pid, kind, state] = line.split(" ")
        return { pid: Number(pid), kind: kind === "legacy" ? "legacy" : "volume", stopped: state === "stopped" }
      }),
    parameters: Object.fromEntries(
      readdirSync(parameters).map((name) => [name, setting(text(join(parameters, name)))]),
    ),
  }
}

/** How long requests wait for another daemon with their handle; a parameter of the module. Seconds. */
export function graceSeconds(): number {
  return Number(text(join(MODULE, "parameters/grace_seconds")))
}

/** The module's counters under names that say so; empty when it is not loaded. */
export function moduleCounters(): Record<string, number> {
  if (!existsSync(DEVICE)) return {}
  const each = Object.entries(counters()).map(([name, count]) => [`module.${name}`, count] as const)
  return { ...Object.fromEntries(each), "module.queueDepth": Number(text(join(DEVICE, "queue_depth"))) }
}

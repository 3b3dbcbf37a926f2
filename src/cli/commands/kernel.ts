/** `tresor kernel …`: words of the command line to operations. */
import type { Command } from "commander"
import { readModule } from "../../mapping/module.ts"
import {
  build,
  install,
  type KernelRelease,
  load,
  type ModuleParameters,
  unload,
} from "../../mapping/module-install.ts"
import { out } from "../output/output.ts"
import { facts } from "../table.ts"

const say = (line: string) => out.line(line)

const seconds = (text: string): number => {
  if (!/^\d{1,6}$/.test(text)) throw new RangeError(`${text} is not a number of seconds`)
  return Number(text)
}

export function registerKernelCommands(program: Command): void {
  const kernel = program.command("kernel").description("build, install, load, show or unload tresor.ko")
  const release = ["--release <version>", "for this kernel instead of the running one"] as const

  kernel
    .command("build")
    .description("compile tresor.ko against a kernel's headers")
    .option(...release)
    .addHelpText("after", "\nExample:\n  tresor kernel build")
    .action(async (options: KernelRelease) => {
      say(await build(options))
    })

  kernel
    .command("install")
    .description("install tresor.ko under /lib/modules, with DKMS where available, and its udev rule")
    .option(...release)
    .addHelpText("after", "\nExample:\n  tresor kernel install")
    .action(async (options: KernelRelease) => {
      say(await install(options))
    })

  kernel
    .command("load")
    .description("load the installed module, or else the one built here")
    .option("--grace <seconds>", "time I/O waits for a tresord that died to return (default: 30)", seconds)
    .option(
      "--hang <seconds>",
      "time without an answer after which a tresord counts as dead; 0: never (default: 60)",
      seconds,
    )
    .option("--daemon <command>", "command started with the module, such as '/usr/sbin/tresord --legacy'")
    .addHelpText("after", "\nExample:\n  tresor kernel load")
    .action((options: ModuleParameters) => load(options))

  kernel
    .command("status")
    .description("show whether it is loaded, what is attached, and counters")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  tresor kernel status")
    .action((options: { readonly json?: true }) => status(options.json === true))

  kernel
    .command("unload")
    .description("unload tresor.ko (refused while a mapping or a tresord uses it)")
    .addHelpText("after", "\nExample:\n  tresor kernel unload")
    .action(() => unload())
}

function status(json: boolean): void {
  const module = readModule()
  if (json) {
    out.json(module === null ? { loaded: false } : { loaded: true, ...module })
    return
  }
  if (module === null) {
    say("not loaded; `tresor kernel load` loads it")
    return
  }
  const pairs = (record: Readonly<Record<string, unknown>>) =>
    Object.entries(record)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ")
  out.text(
    facts(
      [
        ["version", module.version],
        [
          "daemons",
          module.daemons.map(({ pid, kind, stopped }) => `${pid} ${kind}${stopped ? " (stopped)" : ""}`).join(", ") ||
            "none attached",
        ],
        ["inside now", `${module.queueDepth} requests`],
        ["counters", pairs(module.counters)],
        ["parameters", pairs(module.parameters)],
      ],
      out.columns,
    ),
  )
}

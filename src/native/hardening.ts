/**
 * A process that may hold a passphrase or a key, against others of its user:
 * launcher/launcher.c starts it, here it makes sure of that before anything else runs.
 */
import { writeSync } from "node:fs"
import { Exit, TresorError } from "../base/errors.ts"
import { hardenProcess } from "./addon.ts"

/** What launcher.c gives Node. */
const OPTIONS = "--disable-sigusr1"

/** Makes this process unreadable for its user; throws TRACED when somebody reads it already. */
export function refuseTracer(name: string): { readonly wasDumpable: boolean } {
  const { wasDumpable, tracer } = hardenProcess(name)
  if (tracer !== 0) {
    const who = tracer < 0 ? "it is unknown whether a process traces it" : `process ${tracer} traces it`
    throw new TresorError(
      "TRACED",
      Exit.denied,
      `Cannot start ${name}: ${who}, and a tracer sees every passphrase and key; run it without strace or gdb, and with /proc`,
    )
  }
  return { wasDumpable }
}

/** For the first line of a program: ends the process, with one line on standard error, unless it started unreadable. */
export function startHardened(name: string): void {
  try {
    if (refuseTracer(name).wasDumpable || process.execArgv.join(" ") !== OPTIONS) {
      throw new TresorError(
        "NOT_LAUNCHED",
        Exit.denied,
        `Cannot start ${name}: other processes of this user could have read its memory until now; ` +
          `start it as dist/${name}, from a file system that keeps mode 0111, with fs.suid_dumpable 0 or 2`,
      )
    }
  } catch (error) {
    if (!(error instanceof TresorError)) throw error
    // Words of ours only; output.ts would be compiled at every start for them.
    writeSync(2, `${name}: error: ${error.message}\n`)
    process.exit(error.exitCode)
  }
}

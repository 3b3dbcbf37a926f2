/** `tresor`: words in, one exit code out. */
import { isatty } from "node:tty"
import { CommanderError } from "commander"
import { Exit } from "../base/errors.ts"
import { type DaemonProcess, discardEarly, keepEarly } from "../control/daemon-process.ts"
import { translate } from "./cryptsetup/translate.ts"
import { tell, verdict } from "./messages.ts"
import { helperStatus, helperWords } from "./mount-helper.ts"
import { err, out } from "./output/output.ts"
import { buildProgram } from "./program.ts"
import { endSilence } from "./terminal.ts"
import { flagsOf, TresorCommand } from "./tresor-command.ts"
import { versionText } from "./version.ts"

/** One line, with an example instead of a page of usage. */
function refuse(program: TresorCommand): void {
  const walk = (command: TresorCommand) => {
    command.exitOverride()
    command.configureOutput({
      writeOut: (text) => out.text(text),
      writeErr: (text) => err.text(text),
      outputError: (text, write) => {
        const said = text
          .replace(/^error: /, "")
          .trim()
          .replace(/\s*\n\s*/g, " ")
          .replace(/\.$/, "")
        write(
          `tresor: error: ${said}; ${command.example === "" ? "`tresor --help` lists the commands" : `example: ${command.example}`}\n`,
        )
      },
    })
    for (const child of command.commands) if (child instanceof TresorCommand) walk(child)
  }
  walk(program)
}

async function run(words: readonly string[]): Promise<number> {
  let verbose = false
  const helps = /^u?mount\.tresor$/.test(words[0] ?? "")
  const ended = (exitCode: number): number => {
    if (verbose) err.line(verdict(exitCode))
    return helps ? helperStatus(exitCode) : exitCode
  }
  try {
    const program = await buildProgram(versionText(words), words)
    refuse(program)
    program.hook("preAction", (_, action) => {
      verbose = action.optsWithGlobals()["verbose"] === true
    })
    if (words.length === 0) {
      program.outputHelp({ error: true })
      return 1
    }
    const flags = (command: string) => flagsOf(program, command)
    const world = { flags: flags("mount")!, terminal: isatty(0), root: process.getuid!() === 0 }
    const asked = helps ? helperWords(words, world) : words
    if (asked === null) return 0
    await program.parseAsync(translate(asked, flags), { from: "user" })
    return ended(typeof process.exitCode === "number" ? process.exitCode : 0)
  } catch (error) {
    // A command group without a subcommand shows its help on stderr; commander calls that an error.
    const { line, exitCode } = tell(error)
    if (line !== "") err.line(line)
    if (process.env["TRESOR_DEBUG"] !== undefined && !(error instanceof CommanderError)) {
      err.text(`${(error as Error).stack ?? error}\n`)
    }
    return ended(exitCode)
  } finally {
    endSilence()
  }
}

/** As a shell says it of a program that SIGPIPE ended. */
const BROKEN_PIPE = 141

/**
 * The exit code, once it is known whether the reader of standard output had all
 * of it. A reader that left (`tresor list | head`) is told apart from success
 * and not complained of; a failure stays the failure it was.
 */
function delivered(exitCode: number): number {
  const { lost } = out
  if (lost === null || exitCode !== 0) return exitCode
  if (lost.code === "EPIPE") return BROKEN_PIPE
  const fact = lost.code === "ENOSPC" ? "no space left on the device" : (lost.code ?? lost.message)
  err.line(`tresor: error: Cannot write to standard output: ${fact}; the command itself has been executed`)
  return Exit.wrongDevice
}

/** `daemon`: started by launch.ts for the command that `words` most likely are. */
export function main(words: readonly string[], daemon: DaemonProcess | null): void {
  keepEarly(daemon)
  // With nothing left to wait for, `run` is not over: 0 would be a lie.
  process.once("beforeExit", () => {
    process.exitCode ??= 13
  })
  void run(words).then((exitCode) => {
    discardEarly()
    process.exitCode = delivered(exitCode)
  })
}

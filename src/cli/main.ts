/** `tresor`: words in, one exit code out. */
import { CommanderError } from "commander"
import { type DaemonProcess, discardEarly, keepEarly } from "./daemon-process.ts"
import { tell } from "./messages.ts"
import { buildProgram, TresorCommand } from "./program.ts"
import { VERSION } from "./version.ts"

/** One line, with an example instead of a page of usage. */
function refuse(program: TresorCommand): void {
  const walk = (command: TresorCommand) => {
    command.exitOverride()
    command.configureOutput({
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
  try {
    const program = await buildProgram(VERSION, words)
    refuse(program)
    if (words.length === 0) {
      program.outputHelp({ error: true })
      return 1
    }
    await program.parseAsync(words, { from: "user" })
    return typeof process.exitCode === "number" ? process.exitCode : 0
  } catch (error) {
    // A command group without a subcommand shows its help on stderr; commander calls that an error.
    const { line, exitCode } = tell(error)
    if (line !== "") process.stderr.write(`${line}\n`)
    if (process.env["TRESOR_DEBUG"] !== undefined && !(error instanceof CommanderError)) {
      process.stderr.write(`${(error as Error).stack ?? error}\n`)
    }
    return exitCode
  }
}

/** `daemon`: started by launch.ts for the command that `words` most likely are. */
export function main(words: readonly string[], daemon: DaemonProcess | null): void {
  keepEarly(daemon)
  // A reader that has seen enough (`tresor list | head`) is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0)
    throw error
  })
  // With nothing left to wait for, `run` is not over: 0 would be a lie.
  process.once("beforeExit", () => {
    process.exitCode ??= 13
  })
  void run(words).then((exitCode) => {
    discardEarly()
    process.exitCode = exitCode
  })
}

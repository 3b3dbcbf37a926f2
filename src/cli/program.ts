/** The tree of commands: what they are called, their options and examples lie in tree/, what they do in commands/. */
import { headerCommands } from "./tree/header.ts"
import { keyCommands } from "./tree/key.ts"
import { machineCommands } from "./tree/machine.ts"
import { volumeCommands } from "./tree/volume.ts"
import { example, TresorCommand } from "./tresor-command.ts"

export async function buildProgram(version: string, words: readonly string[]): Promise<TresorCommand> {
  const program = new TresorCommand("tresor")
    .description("Disk encryption whose keys exist only inside an enclave.")
    .version(version, "-V, --version", "print the version")
    .option("-v, --verbose", "say at the end whether the command was successful; also after the command's name")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [command]", "show help of a command")
    .showSuggestionAfterError(true)
    .enablePositionalOptions()
    .addHelpText(
      "after",
      example("tresor demo", "tresor create disk.img --size 1G", "tresor open disk.img work", "tresor close work"),
    )
    .addHelpText(
      "after",
      "\ncryptsetup's verbs and options work too, where they mean the same: docs/cryptsetup.md." +
        "\nExit codes: 1 bad arguments, 2 no permission or bad passphrase, 3 out of memory, 4 wrong device, 5 exists or busy.",
    )

  // Before any command that has an enclave: root may work on a user's volume.
  program.hook("preAction", async (_, action) => {
    const path = action.args[action.registeredArguments.findIndex((each) => each.name() === "path")]
    if (path === undefined || process.getuid!() !== 0) return
    const { adoptOwner } = await import("../enclave/secret-owner.ts")
    const owner = adoptOwner(path)
    if (owner === null) return
    const { err } = await import("./output/output.ts")
    err.line(`tresor: ${path} belongs to ${owner.name}: using that user's machine secret, in ${owner.state}`)
  })

  volumeCommands(program)
  keyCommands(program)
  headerCommands(program)
  await machineCommands(program, words)
  return program
}

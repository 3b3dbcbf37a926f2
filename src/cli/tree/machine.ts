/** Commands of this machine and its enclave, and of tresor itself. */
import { Argument, type Command, Option } from "commander"
import { TresorCommand } from "../tresor-command.ts"

const GROUP = "This machine and its enclave:"

/** `words`: of the command line, which say what of the tree is wanted. */
export async function machineCommands(program: TresorCommand, words: readonly string[]): Promise<void> {
  const command = (name: string, description: string) => program.child(name, description).helpGroup(GROUP)

  command("selftest", "test every enclave operation with published vectors")
    .enclave()
    .json()
    .examples("tresor selftest")
    .runs("selftest", (m) => m.selftest)

  command("doctor", "check what this machine offers and what is missing")
    .json()
    .examples("tresor doctor")
    .runs("doctor", (m) => m.doctor)

  command("bench", "measure the speed of this machine and its enclave")
    .argument("[path]", "directory for a scratch volume of 80 MiB (default: the temporary directory)")
    .addOption(
      new Option("--backend <kind>", "where the enclave runs").choices(["auto", "sgx", "software"]).default("auto"),
    )
    .json()
    .examples("tresor bench", "tresor bench /mnt/disk --json")
    .runs("bench", (m) => m.bench)

  // These bring their own trees, worth loading only when asked for.
  const area = words.find((word) => !word.startsWith("-"))
  const areas: Readonly<Record<string, readonly [string, string, () => Promise<(parent: Command) => void>]>> = {
    enclave: [
      "inspect, measure, sign and verify the enclave image",
      "tresor enclave info",
      async () => (await import("../commands/enclave.ts")).registerEnclaveCommands,
    ],
    attest: [
      "quotes and policies of enclaves",
      "tresor attest show",
      async () => (await import("../commands/attest.ts")).registerAttestCommands,
    ],
    kernel: [
      "build, install, load, show or unload tresor.ko",
      "tresor kernel status",
      async () => (await import("../commands/kernel.ts")).registerKernelCommands,
    ],
  }
  for (const [name, [description, first, load]] of Object.entries(areas)) {
    const wanted = area === name || (area === "help" && words.includes(name)) || area === "completion"
    if (wanted) {
      ;(await load())(program)
      const tree = program.commands.find((each) => each.name() === name)
      if (tree instanceof TresorCommand) tree.helpGroup(GROUP).examples(first)
    } else {
      command(name, description)
    }
  }

  command("completion", "print a completion script")
    .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]))
    .examples("tresor completion bash > /etc/bash_completion.d/tresor")
    .runs("completion", (m) => (shell: string) => m.completion(shell, program))
}

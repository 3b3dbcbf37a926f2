/** Commands of this machine and its enclave, and of tresor itself. */
import { Argument, type Command, Option } from "commander"
import { integer, parsePcrs } from "../options.ts"
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

  machineSecretCommands(command)

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

/** The software backend's root secret and the TPM. */
function machineSecretCommands(command: (name: string, description: string) => TresorCommand): void {
  const machine = command("machine", "seal the machine secret of the software backend to the TPM")
  machine.examples("tresor machine enroll --tpm2 --pin", "tresor machine status")
  const timeout = (each: TresorCommand) =>
    each.option("-t, --timeout <seconds>", "give up after this many seconds at the prompt", integer(0, 86400))
  const itsPin = (each: TresorCommand) =>
    timeout(each)
      .option("--pin-file <file>", "read the PIN from a file, whole; - is standard input")
      .option("-T, --tries <n>", "number of attempts", integer(1, 1000), 3)
  const sealed = (each: TresorCommand) =>
    each
      .option("--pin", "ask for a new PIN, without which the TPM unseals nothing")
      .option("--new-pin-file <file>", "read the new PIN from a file, whole; - is standard input")
  const pcrs = ["--pcrs <list>", "PCRs that must not change, such as 7 or 0+7; none"] as const

  machine
    .child("status", "show where the machine secret is and whether the TPM opens it")
    .json()
    .examples("tresor machine status")
    .runs("machine", (m) => m.status)
  timeout(sealed(machine.child("enroll", "seal the machine secret to the TPM and remove its file")))
    .addOption(new Option("--tpm2", "seal it to the TPM 2.0 of this machine").makeOptionMandatory())
    .option(...pcrs, parsePcrs, [7])
    .option("--no-recovery", "show no recovery key of the machine secret")
    .recoveryKey()
    .examples(
      "tresor machine enroll --tpm2 --pin",
      "tresor machine enroll --tpm2 --pcrs 0+7 --recovery-key-file /media/usb/machine",
    )
    .runs("machine", (m) => m.enroll)
  itsPin(sealed(machine.child("reseal", "seal it anew: to other PCRs, with another PIN or none")))
    .option("--no-pin", "need no PIN from now on")
    .option(...pcrs, parsePcrs)
    .examples("tresor machine reseal --pin", "tresor machine reseal --pcrs none")
    .runs("machine", (m) => m.reseal)
  timeout(sealed(machine.child("recover", "bring the machine secret back with its recovery key, when the TPM refuses")))
    .option("--no-pin", "need no PIN from now on")
    .option("--recovery-key-file <file>", "read the recovery key from a file; - is standard input")
    .option(...pcrs, parsePcrs, [7])
    .option("--no-tpm2", "bring it back into a file, on a machine without TPM")
    .examples("tresor machine recover --pin", "tresor machine recover --no-tpm2")
    .runs("machine", (m) => m.recover)
  itsPin(machine.child("unenroll", "take the machine secret back from the TPM into a file"))
    .examples("tresor machine unenroll")
    .runs("machine", (m) => m.unenroll)
  itsPin(machine.child("unlock", "give the PIN until the machine goes down"))
    .option("--password-agent", "ask systemd's password agents, as at boot")
    .examples("tresor machine unlock")
    .runs("machine", (m) => m.unlock)
  machine
    .child("lock", "forget the unsealed machine secret; open volumes go on")
    .examples("tresor machine lock")
    .runs("machine", (m) => m.lock)
}

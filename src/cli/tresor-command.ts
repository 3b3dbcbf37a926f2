/** A command of the tree: what its options share, and which file it runs. */
import { Command, type Help, Option } from "commander"
import {
  LEAST_LEASE_SECONDS,
  LEAST_STORE_SECONDS,
  MOST_GRACE_SECONDS,
  MOST_IO_THREADS,
  MOST_LEASE_SECONDS,
  MOST_STORE_SECONDS,
} from "../control/option-limits.ts"
import { COMMAND_FILES } from "./command-files.ts"
import { integer, parseMeasurement, parseSlot } from "./options.ts"

type CommandFile = keyof typeof COMMAND_FILES
type Loaded<F extends CommandFile> = Awaited<ReturnType<(typeof COMMAND_FILES)[F]>>
/** Words as typed, through commander: what a command's action is called with. */
type Action = (...words: never[]) => Promise<void>

export const example = (...lines: readonly string[]) =>
  `\n${lines.length > 1 ? "Examples" : "Example"}:\n${lines.map((line) => `  ${line}`).join("\n")}`

/** A command of which one example is shown in --help and when arguments are missing. */
export class TresorCommand extends Command {
  example = ""

  override createCommand(name?: string): TresorCommand {
    return new TresorCommand(name)
  }

  override createHelp(): Help {
    return Object.assign(super.createHelp(), { helpWidth: Math.min(process.stdout.columns ?? 100, 100) })
  }

  examples(first: string, ...more: readonly string[]): this {
    this.example = first
    return this.addHelpText("after", example(first, ...more))
  }

  /** Where a passphrase comes from. */
  secrets(): this {
    return this.option("-d, --key-file <file>", "read the passphrase from a file, whole; - is standard input")
      .option("-l, --keyfile-size <bytes>", "read exactly this many bytes of the key file", integer(0, 8 << 20))
      .option("--keyfile-offset <bytes>", "skip this many bytes of the key file", integer(0, Number.MAX_SAFE_INTEGER))
      .option("-t, --timeout <seconds>", "give up after this many seconds at the prompt", integer(0, 86400))
      .option("-T, --tries <n>", "number of attempts", integer(1, 1000), 3)
  }

  passwordAgent(): this {
    return this.option(
      "--password-agent",
      "ask by systemd's password agents instead of the terminal, as at boot",
    ).option(
      "--password-cache",
      "with --password-agent: take and leave the passphrase in root's keyring, for other volumes",
    )
  }

  slot(text = "try this keyslot only"): this {
    return this.option("-S, --key-slot <n>", text, parseSlot)
  }

  enclave(): this {
    return this.addOption(
      new Option("--backend <kind>", "where the enclave runs").choices(["auto", "sgx", "software"]).default("auto"),
    ).option("--policy <file>", "what the enclave must prove before it gets a passphrase (see `tresor attest`)")
  }

  succession(): this {
    return this.option(
      "--succeed <mrenclave>",
      "this enclave, which runs now, may open what an earlier one has sealed, also one of a higher version",
      parseMeasurement,
    )
  }

  header(): this {
    return this.option("--header <file>", "use a detached header")
  }

  pbkdf(): this {
    return this.addOption(new Option("--pbkdf <kind>", "KDF of the keyslot").choices(["argon2id", "argon2i", "pbkdf2"]))
      .option("--pbkdf-memory <KiB>", "memory of Argon2, in KiB", integer(32, 4 << 20))
      .option("--pbkdf-parallel <n>", "lanes of Argon2", integer(1, 4))
      .option(
        "--pbkdf-force-iterations <n>",
        "iterations of PBKDF2 or passes of Argon2; skips the benchmark",
        integer(1, 0xffffffff),
      )
      .option("-i, --iter-time <ms>", "target time of the KDF, in milliseconds", integer(1, 600_000))
  }

  recoveryKey(): this {
    return this.option("--recovery-key-file <file>", "write the recovery key to this file instead of the terminal")
      .option("--qr", "also show the recovery key as a QR code")
      .option("--confirm-recovery-key", "ask you to type the recovery key back before anything is written")
  }

  sealPolicy(): this {
    return this.addOption(
      new Option("--seal-policy <policy>", "who may unseal: this exact image, or all that its release key signs")
        .choices(["mrenclave", "mrsigner"])
        .default("mrenclave"),
    )
  }

  batch(): this {
    return this.option("-q, --batch-mode", "do not ask for confirmation")
  }

  json(): this {
    return this.option("--json", "print JSON")
  }

  opening(): this {
    return this.slot()
      .option("-r, --readonly", "refuse writes")
      .option("--allow-discards", "pass TRIM through (reveals which blocks are in use)")
      .option("--direct", "open the backing store with O_DIRECT")
      .option(
        "--io-threads <number>",
        "NBD: threads that read, write and decrypt beside the event loop (default: by the number of CPUs)",
        integer(0, MOST_IO_THREADS),
      )
      .option(
        "--grace <seconds>",
        "limit of the time I/O waits while the volume is locked (default: no limit)",
        integer(0, MOST_GRACE_SECONDS),
      )
      .option("--lease <lease>", "NBD: take this lease on the store before it is used, such as ceph:rbd/work")
      .option(
        "--lease-duration <seconds>",
        "time until another machine may take the lease of a dead one (default: 60)",
        integer(LEAST_LEASE_SECONDS, MOST_LEASE_SECONDS),
      )
      .option(
        "--store-timeout <seconds>",
        "NBD: limit of the time I/O waits for the store (default: 60)",
        integer(LEAST_STORE_SECONDS, MOST_STORE_SECONDS),
      )
  }

  verify(text = "ask for the passphrase twice"): this {
    return this.option("-y, --verify-passphrase", text)
  }

  /** What the command does: a function of commands/FILE.ts, which is loaded when it is run. */
  runs<F extends CommandFile>(file: F, pick: (module: Loaded<F>) => Action): this {
    // Every command has it; `tresor --help` says so once.
    return this.addOption(new Option("-v, --verbose").hideHelp()).action(async (...words: unknown[]) => {
      const module = (await COMMAND_FILES[file]()) as Loaded<F>
      await pick(module)(...(words as never[]))
    })
  }

  /** A command below this one. */
  child(name: string, description: string): TresorCommand {
    return this.command(name).description(description)
  }
}

/** Options of a command, "--key-file" and "-d", and whether they take a value. `null`: there is no such command. */
export function flagsOf(program: Command, path: string): ReadonlyMap<string, boolean> | null {
  let command: Command | undefined = program
  for (const name of path.split(" ")) command = command?.commands.find((each) => each.name() === name)
  if (command === undefined) return null
  const flags = new Map([
    ["--help", false],
    ["-h", false],
  ])
  for (const { short, long, required, optional } of command.options) {
    for (const flag of [short, long]) if (flag != null) flags.set(flag, required || optional)
  }
  return flags
}

/**
 * Every command, its options and its example. What a command does lies in
 * commands/, loaded when it is run: `open` does not pay for `attest`.
 */
import { Argument, Command, type Help, Option } from "commander"
import { MOST_GRACE_SECONDS, MOST_TRANSITION_CYCLES } from "../control/option-limits.ts"
import { integer, oneOf, parseSize, parseSlot } from "./options.ts"

const example = (...lines: readonly string[]) =>
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

  slot(text = "try this keyslot only"): this {
    return this.option("-S, --key-slot <n>", text, parseSlot)
  }

  enclave(): this {
    return this.addOption(
      new Option("--backend <kind>", "where the enclave runs").choices(["auto", "sgx", "software"]).default("auto"),
    ).option("--policy <file>", "what the enclave must prove before it gets a passphrase (see `tresor attest`)")
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
      .option("--iter-time <ms>", "target time of the KDF, in milliseconds", integer(1, 600_000))
  }

  recoveryKey(): this {
    return this.option("--recovery-key-file <file>", "write the recovery key to this file instead of the terminal")
      .option("--qr", "also show the recovery key as a QR code")
      .option("--confirm-recovery-key", "ask you to type the recovery key back before anything is written")
  }

  sealPolicy(): this {
    return this.addOption(
      new Option("--seal-policy <policy>", "who may unseal: this exact image, or later versions by the same signer")
        .choices(["mrsigner", "mrenclave"])
        .default("mrsigner"),
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
        "--grace <seconds>",
        "limit of the time I/O waits while the volume is locked (default: no limit)",
        integer(0, MOST_GRACE_SECONDS),
      )
  }

  verify(): this {
    return this.option("-y, --verify-passphrase", "ask for the passphrase twice")
  }
}

/** Words as typed, through commander: what a command's action is called with. */
type Action = (...args: never[]) => Promise<void>

const lazy =
  <M>(load: () => Promise<M>, pick: (module: M) => Action) =>
  async (...args: unknown[]): Promise<void> => {
    await pick(await load())(...(args as never[]))
  }

export async function buildProgram(version: string, words: readonly string[]): Promise<TresorCommand> {
  const program = new TresorCommand("tresor")
    .description("Disk encryption whose keys exist only inside an enclave.")
    .version(version, "-V, --version", "print the version")
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
      "\nExit codes: 1 bad arguments, 2 no permission or bad passphrase, 3 out of memory, 4 wrong device, 5 exists or busy.",
    )

  // Before any command that has an enclave: under sudo the volume may be the caller's.
  program.hook("preAction", async (_, action) => {
    const path = action.args[action.registeredArguments.findIndex((each) => each.name() === "path")]
    if (path === undefined || (process.env["SUDO_UID"] ?? "") === "") return
    const { adoptCaller } = await import("../enclave/sudo-caller.ts")
    const caller = adoptCaller(path)
    if (caller === null) return
    const { err } = await import("./output/output.ts")
    err.line(`tresor: ${path} belongs to ${caller.name}: using that user's machine secret, in ${caller.state}`)
  })

  const command = (name: string, description: string, group: string) =>
    (program.command(name) as TresorCommand).description(description).helpGroup(group)

  const daily = "Volumes:"
  const keys = "Keys and recovery:"
  const header = "Header:"
  const machine = "This machine and its enclave:"

  command("demo", "run every step on a scratch volume; needs no root, leaves nothing behind", daily)
    .enclave()
    .examples("tresor demo")
    .action(
      lazy(
        () => import("./commands/demo.ts"),
        (m) => m.demo,
      ),
    )

  command("create", "create an encrypted volume", daily)
    .argument("<path>", "a new file, or a block device")
    .option("--size <size>", "volume size, such as 64M or 1G (default: the whole device)", parseSize)
    .option("--label <label>", "label in the header (blkid LABEL)")
    .option("--uuid <uuid>", "UUID of the volume (default: random)")
    .option("--sector-size <bytes>", "size of an encryption sector: 512, 1024, 2048 or 4096", (text: string) =>
      Number(oneOf("512", "1024", "2048", "4096")(text)),
    )
    .option(
      "-s, --key-size <bits>",
      "size of the volume key: 512 (AES-256) or 256 (AES-128)",
      (text: string) => Number(oneOf("256", "512")(text)),
      512,
    )
    .pbkdf()
    .secrets()
    .slot("keyslot of the passphrase")
    .recoveryKey()
    .option("--no-recovery", "make no recovery key: if this machine fails, the data is lost")
    .option("--portable", "make a keyslot without sealed salt, which cryptsetup can open too")
    .header()
    .sealPolicy()
    .enclave()
    .option("--force", "overwrite existing data")
    .batch()
    .json()
    .examples("tresor create disk.img --size 1G", "tresor create /dev/sdx1 --label backup")
    .action(
      lazy(
        () => import("./commands/create.ts"),
        (m) => m.create,
      ),
    )

  command("open", "unlock a volume and serve it over NBD", daily)
    .argument("<path>", "file, block device or NBD URI")
    .argument("<name>", "name for the open volume")
    .secrets()
    .verify()
    .opening()
    .header()
    .enclave()
    .option("--locked", "start locked; give the passphrase later with `tresor setkey`")
    .option("--kernel", "map it as /dev/mapper/NAME through tresor.ko")
    .option(
      "--transition-cycles <n>",
      "software backend: burn this many cycles per entry and exit, to model SGX (typical: 14000)",
      integer(0, MOST_TRANSITION_CYCLES),
    )
    .json()
    .examples("tresor open disk.img work", "tresor open disk.img work --key-file key.bin --json")
    .action(
      lazy(
        () => import("./commands/open.ts"),
        (m) => m.open,
      ),
    )

  command("close", "flush, wipe the keys and stop the service", daily)
    .argument("<name>")
    .option("--force", "close even if the volume is in use")
    .option("--deferred", "close when the last client leaves")
    .examples("tresor close work")
    .action(
      lazy(
        () => import("./commands/close.ts"),
        (m) => m.close,
      ),
    )

  command("list", "list open volumes", daily)
    .alias("ls")
    .json()
    .examples("tresor list")
    .action(
      lazy(
        () => import("./commands/list.ts"),
        (m) => m.list,
      ),
    )

  command("status", "show an open volume: state, protection, counters", daily)
    .argument("<name>")
    .json()
    .examples("tresor status work")
    .action(
      lazy(
        () => import("./commands/status.ts"),
        (m) => m.status,
      ),
    )

  command("lock", "wipe the keys and suspend I/O", daily)
    .argument("<name>")
    .option("--if-open", "succeed if the volume is not open")
    .examples("tresor lock work")
    .action(
      lazy(
        () => import("./commands/lock.ts"),
        (m) => m.lock,
      ),
    )

  command("setkey", "unlock a locked volume", daily)
    .argument("<name>")
    .secrets()
    .slot()
    .option("--policy <file>", "what the enclave must prove before it gets a passphrase (see `tresor attest`)")
    .option("--remote <user@host>", "the volume is on another machine, reached by ssh")
    .option("--unsealed", "with --remote: also try keyslots not sealed to that enclave (recovery key, portable)")
    .option("--legacy", "unlock a mapping made by the commands of 2016")
    .option("--rsh <command>", "remote shell", "ssh")
    .option("--remote-tresor <command>", "tresor command on the other machine", "tresor")
    .examples("tresor setkey work", "tresor setkey work --remote root@server")
    .action(
      lazy(
        () => import("./commands/setkey.ts"),
        (m) => m.setkey,
      ),
    )

  program
    .command("bridge", { hidden: true })
    .description("connect standard input and output to a volume's control socket")
    .argument("<name>")
    .action(
      lazy(
        () => import("./commands/setkey.ts"),
        (m) => m.bridge,
      ),
    )

  command("mount", "open a volume and mount its filesystem", daily)
    .argument("<path>", "file, block device or NBD URI")
    .argument("<dir>", "mount point")
    .option("--name <name>", "name for the open volume (default: name of the file)")
    .addOption(new Option("--mkfs <type>", "make a filesystem before mounting").choices(["ext4", "xfs", "btrfs"]))
    .option("--force", "with --mkfs: overwrite existing data")
    .option("-C, --connections <n>", "number of NBD connections of the kernel's driver", integer(1, 16), 4)
    .secrets()
    .opening()
    .header()
    .enclave()
    .examples("tresor mount disk.img /mnt --mkfs ext4", "tresor mount disk.img /mnt")
    .action(
      lazy(
        () => import("./commands/mount.ts"),
        (m) => m.mount,
      ),
    )

  command("umount", "unmount a filesystem and close its volume", daily)
    .argument("<dir>")
    .examples("tresor umount /mnt")
    .action(
      lazy(
        () => import("./commands/mount.ts"),
        (m) => m.umount,
      ),
    )

  command("resize", "grow to the backing store's new size", daily)
    .argument("<name>")
    .examples("truncate -s 2G disk.img && tresor resize work")
    .action(
      lazy(
        () => import("./commands/resize.ts"),
        (m) => m.resize,
      ),
    )

  const key = command("key", "add, change, remove or list passphrases", keys)
  const keyCommand = (name: string, description: string) =>
    (key.command(name) as TresorCommand).description(description).argument("<path>").header()
  const fresh = (each: TresorCommand) =>
    each
      .option("--new-key-file <file>", "read the new passphrase from a file, whole; - is standard input")
      .option("--new-keyfile-size <bytes>", "read exactly this many bytes of the new key file", integer(0, 8 << 20))
      .option(
        "--new-keyfile-offset <bytes>",
        "skip this many bytes of the new key file",
        integer(0, Number.MAX_SAFE_INTEGER),
      )
      .option("--new-key-slot <n>", "keyslot of the new passphrase (default: a free one)", parseSlot)
      .option("--portable", "make a keyslot without sealed salt, which cryptsetup can open too")
      .pbkdf()
      .sealPolicy()
  fresh(keyCommand("add", "add a passphrase"))
    .secrets()
    .slot()
    .enclave()
    .batch()
    .examples("tresor key add disk.img", "tresor key add disk.img --portable --new-key-file backup.key")
    .action(
      lazy(
        () => import("./commands/key.ts"),
        (m) => m.add,
      ),
    )
  fresh(keyCommand("change", "replace a passphrase"))
    .secrets()
    .slot()
    .enclave()
    .batch()
    .examples("tresor key change disk.img")
    .action(
      lazy(
        () => import("./commands/key.ts"),
        (m) => m.change,
      ),
    )
  keyCommand("remove", "destroy a keyslot")
    .alias("rm")
    .secrets()
    .slot("keyslot to destroy (default: the one the passphrase opens)")
    .option("--force", "also remove the last keyslot: the data is lost")
    .enclave()
    .batch()
    .examples("tresor key remove disk.img --key-slot 2")
    .action(
      lazy(
        () => import("./commands/key.ts"),
        (m) => m.remove,
      ),
    )
  keyCommand("list", "list the keyslots")
    .alias("ls")
    .json()
    .examples("tresor key list disk.img")
    .action(
      lazy(
        () => import("./commands/key.ts"),
        (m) => m.list,
      ),
    )
  key.examples("tresor key add disk.img")

  command("recover", "open with the recovery key and set a new passphrase for this machine", keys)
    .argument("<path>")
    .option("--recovery-key-file <file>", "read the recovery key from a file; - is standard input")
    .option("--new-key-file <file>", "read the new passphrase from a file, whole")
    .option("--new-key-slot <n>", "keyslot of the new passphrase", parseSlot)
    .option("--check-only", "only test the recovery key and report on the other keyslots")
    .option("-t, --timeout <seconds>", "give up after this many seconds at the prompt", integer(0, 86400))
    .pbkdf()
    .sealPolicy()
    .header()
    .enclave()
    .batch()
    .json()
    .examples("tresor recover disk.img")
    .action(
      lazy(
        () => import("./commands/recover.ts"),
        (m) => m.recover,
      ),
    )

  command("adopt", "add a Tresor passphrase to a volume made by cryptsetup", keys)
    .argument("<path>")
    .option("--new-key-file <file>", "read the new passphrase from a file, whole")
    .option("--new-key-slot <n>", "keyslot of the new passphrase", parseSlot)
    .recoveryKey()
    .option("--no-recovery", "make no recovery key")
    .secrets()
    .slot()
    .pbkdf()
    .sealPolicy()
    .header()
    .enclave()
    .batch()
    .examples("tresor adopt old-luks2.img")
    .action(
      lazy(
        () => import("./commands/adopt.ts"),
        (m) => m.adopt,
      ),
    )

  command("release", "undo adopt: remove what it added", keys)
    .argument("<path>")
    .secrets()
    .header()
    .enclave()
    .batch()
    .examples("tresor release old-luks2.img")
    .action(
      lazy(
        () => import("./commands/adopt.ts"),
        (m) => m.release,
      ),
    )

  command("wipe", "destroy all keyslots: the data is lost permanently", keys)
    .argument("<path>")
    .header()
    .batch()
    .examples("tresor wipe disk.img")
    .action(
      lazy(
        () => import("./commands/wipe.ts"),
        (m) => m.wipe,
      ),
    )

  command("dump", "show a volume's header", header)
    .argument("<path>")
    .header()
    .json()
    .examples("tresor dump disk.img")
    .action(
      lazy(
        () => import("./commands/dump.ts"),
        (m) => m.dump,
      ),
    )

  const head = command("header", "back up, restore or authenticate a header", header)
  const headCommand = (name: string, description: string) =>
    (head.command(name) as TresorCommand).description(description).argument("<path>").header()
  headCommand("backup", "copy the header to a file, in cryptsetup's format")
    .argument("<file>")
    .examples("tresor header backup disk.img disk.header")
    .action(
      lazy(
        () => import("./commands/header.ts"),
        (m) => m.backup,
      ),
    )
  headCommand("restore", "restore the header from a backup")
    .argument("<file>")
    .option("--force", "restore even if the UUIDs differ")
    .batch()
    .examples("tresor header restore disk.img disk.header")
    .action(
      lazy(
        () => import("./commands/header.ts"),
        (m) => m.restore,
      ),
    )
  headCommand("authenticate", "recompute the header's MACs after cryptsetup changed it")
    .secrets()
    .slot()
    .enclave()
    .examples("tresor header authenticate disk.img")
    .action(
      lazy(
        () => import("./commands/header.ts"),
        (m) => m.authenticate,
      ),
    )
  head.examples("tresor header backup disk.img disk.header")

  command("check", "examine a header; repair a damaged copy", header)
    .argument("<path>")
    .option("--repair", "rewrite a damaged copy from the intact one")
    .batch()
    .header()
    .json()
    .examples("tresor check disk.img")
    .action(
      lazy(
        () => import("./commands/check.ts"),
        (m) => m.check,
      ),
    )

  command("uuid", "print a volume's UUID, or set it", header)
    .argument("<path>")
    .argument("[uuid]", "new UUID")
    .header()
    .examples("tresor uuid disk.img")
    .action(
      lazy(
        () => import("./commands/label.ts"),
        (m) => m.uuid,
      ),
    )

  command("label", "print a volume's label, or set it", header)
    .argument("<path>")
    .argument("[label]", "new label")
    .header()
    .examples("tresor label disk.img backup")
    .action(
      lazy(
        () => import("./commands/label.ts"),
        (m) => m.label,
      ),
    )

  command("selftest", "test every enclave operation with published vectors", machine)
    .enclave()
    .json()
    .examples("tresor selftest")
    .action(
      lazy(
        () => import("./commands/selftest.ts"),
        (m) => m.selftest,
      ),
    )

  command("doctor", "check what this machine offers and what is missing", machine)
    .json()
    .examples("tresor doctor")
    .action(
      lazy(
        () => import("./commands/doctor.ts"),
        (m) => m.doctor,
      ),
    )

  command("bench", "measure the speed of this machine and its enclave", machine)
    .argument("[path]", "directory for a scratch volume of 80 MiB (default: the temporary directory)")
    .addOption(
      new Option("--backend <kind>", "where the enclave runs").choices(["auto", "sgx", "software"]).default("auto"),
    )
    .json()
    .examples("tresor bench", "tresor bench /mnt/disk --json")
    .action(
      lazy(
        () => import("./commands/bench.ts"),
        (m) => m.bench,
      ),
    )

  // These bring their own trees, worth loading only when asked for.
  const area = words.find((word) => !word.startsWith("-"))
  const areas: Readonly<Record<string, readonly [string, string, () => Promise<(parent: Command) => void>]>> = {
    enclave: [
      "inspect, measure, sign and verify the enclave image",
      "tresor enclave info",
      async () => (await import("./commands/enclave.ts")).registerEnclaveCommands,
    ],
    attest: [
      "quotes and policies of enclaves",
      "tresor attest show",
      async () => (await import("./commands/attest.ts")).registerAttestCommands,
    ],
    kernel: [
      "build, install, load, show or unload tresor.ko",
      "tresor kernel status",
      async () => (await import("./commands/kernel.ts")).registerKernelCommands,
    ],
  }
  for (const [name, [description, first, load]] of Object.entries(areas)) {
    const wanted = area === name || (area === "help" && words.includes(name)) || area === "completion"
    if (wanted) {
      ;(await load())(program)
      const tree = program.commands.find((each) => each.name() === name)
      if (tree instanceof TresorCommand) tree.helpGroup(machine).examples(first)
    } else {
      command(name, description, machine)
    }
  }

  command("completion", "print a completion script", machine)
    .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]))
    .examples("tresor completion bash > /etc/bash_completion.d/tresor")
    .action(
      lazy(
        () => import("./commands/completion.ts"),
        (m) => (shell: string) => m.completion(shell, program),
      ),
    )

  return program
}

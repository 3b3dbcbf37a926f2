/**
 * Every command, its options and its example. What a command does lies in
 * commands/, loaded when it is run: `open` does not pay for `attest`.
 */
import { Argument, Command, type Help, Option } from "commander"
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
      .option("-l, --keyfile-size <bytes>", "read that many bytes of the key file", integer(0, 8 << 20))
      .option("--keyfile-offset <bytes>", "skip that many bytes of the key file", integer(0, Number.MAX_SAFE_INTEGER))
      .option("-t, --timeout <seconds>", "wait that long for a passphrase to be typed", integer(0, 86400))
      .option("-T, --tries <n>", "how often a passphrase may be typed", integer(1, 1000), 3)
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
    return this.option("--header <file>", "the header lies apart from the data")
  }

  pbkdf(): this {
    return this.addOption(
      new Option("--pbkdf <kind>", "how the passphrase is stretched").choices(["argon2id", "argon2i", "pbkdf2"]),
    )
      .option("--pbkdf-memory <KiB>", "memory of Argon2", integer(32, 4 << 20))
      .option("--pbkdf-parallel <n>", "lanes of Argon2", integer(1, 4))
      .option(
        "--pbkdf-force-iterations <n>",
        "iterations (pbkdf2) or passes (Argon2), instead of measuring",
        integer(1, 0xffffffff),
      )
      .option("--iter-time <ms>", "time a passphrase should take, when measuring", integer(1, 600_000))
  }

  recoveryKey(): this {
    return this.option("--recovery-key-file <file>", "write the recovery key there instead of showing it")
      .option("--qr", "show the recovery key as a QR code too")
      .option("--confirm-recovery-key", "ask for the recovery key to be typed back before anything is written")
  }

  sealPolicy(): this {
    return this.addOption(
      new Option("--seal-policy <policy>", "whom the seal opens for: this enclave only, or its upgrades too")
        .choices(["mrsigner", "mrenclave"])
        .default("mrsigner"),
    )
  }

  batch(): this {
    return this.option("-q, --batch-mode", "ask nothing")
  }

  json(): this {
    return this.option("--json", "print JSON")
  }

  opening(): this {
    return this.slot()
      .option("-r, --readonly", "refuse writes")
      .option("--allow-discards", "pass TRIM on: shows which blocks are used")
      .option("--direct", "open the backing store with O_DIRECT")
      .option("--grace <seconds>", "how long I/O waits while locked; for ever when absent", integer(0, 31_536_000))
  }

  verify(): this {
    return this.option("-y, --verify-passphrase", "ask twice for a passphrase that is only used")
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

  const daily = "Every day:"
  const keys = "Keys and recovery:"
  const header = "Header:"
  const machine = "This machine and its enclave:"

  command("demo", "the whole story on a scratch volume; no root, nothing left behind", daily)
    .enclave()
    .examples("tresor demo")
    .action(
      lazy(
        () => import("./commands/demo.ts"),
        (m) => m.demo,
      ),
    )

  command("create", "make an encrypted volume", daily)
    .argument("<path>", "a new file, or a block device")
    .option("--size <size>", 'size of the volume: "64M", "1G"; the whole device when absent', parseSize)
    .option("--label <label>", "label in the header (blkid LABEL)")
    .option("--uuid <uuid>", "instead of a random one")
    .option("--sector-size <bytes>", "encryption sector: 512, 1024, 2048 or 4096", (text: string) =>
      Number(oneOf("512", "1024", "2048", "4096")(text)),
    )
    .option(
      "-s, --key-size <bits>",
      "512 (AES-256) or 256 (AES-128)",
      (text: string) => Number(oneOf("256", "512")(text)),
      512,
    )
    .pbkdf()
    .secrets()
    .slot("number of the passphrase's keyslot")
    .recoveryKey()
    .option("--no-recovery", "make no recovery key: when this machine dies, the data is lost")
    .option("--portable", "a passphrase slot that cryptsetup opens too, without the sealed salt")
    .header()
    .sealPolicy()
    .enclave()
    .option("--force", "overwrite what is there")
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
    .argument("<name>", "what to call it")
    .secrets()
    .verify()
    .opening()
    .header()
    .enclave()
    .option("--locked", "start without a passphrase; `tresor setkey` brings it")
    .option("--kernel", "map it as /dev/mapper/NAME through tresor.ko")
    .option(
      "--transition-cycles <n>",
      "software backend: burn that many cycles per entry and exit, to model SGX (14000 is usual)",
      integer(0, 9_999_999),
    )
    .json()
    .examples("tresor open disk.img work", "tresor open disk.img work --key-file key.bin --json")
    .action(
      lazy(
        () => import("./commands/open.ts"),
        (m) => m.open,
      ),
    )

  command("close", "flush, wipe the keys, end the service", daily)
    .argument("<name>")
    .option("--force", "close although it is in use")
    .option("--deferred", "close when the last client leaves")
    .examples("tresor close work")
    .action(
      lazy(
        () => import("./commands/close.ts"),
        (m) => m.close,
      ),
    )

  command("list", "name the open volumes", daily)
    .alias("ls")
    .json()
    .examples("tresor list")
    .action(
      lazy(
        () => import("./commands/list.ts"),
        (m) => m.list,
      ),
    )

  command("status", "what is open, what protects it, what it has done", daily)
    .argument("<name>")
    .json()
    .examples("tresor status work")
    .action(
      lazy(
        () => import("./commands/status.ts"),
        (m) => m.status,
      ),
    )

  command("lock", "wipe the keys, let I/O wait", daily)
    .argument("<name>")
    .option("--if-open", "succeed when the volume is not open")
    .examples("tresor lock work")
    .action(
      lazy(
        () => import("./commands/lock.ts"),
        (m) => m.lock,
      ),
    )

  command("setkey", "give a waiting volume its passphrase", daily)
    .argument("<name>")
    .secrets()
    .slot()
    .option("--policy <file>", "what the enclave must prove before it gets a passphrase (see `tresor attest`)")
    .option("--remote <user@host>", "the volume waits on another machine, reached by ssh")
    .option(
      "--unsealed",
      "with --remote: also try keyslots that are not sealed to the enclave (recovery key, portable)",
    )
    .option("--legacy", "for a mapping made by the commands of 2016")
    .option("--rsh <command>", "instead of ssh", "ssh")
    .option("--remote-tresor <command>", "how tresor is called over there", "tresor")
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
    .argument("<dir>", "where")
    .option("--name <name>", "what to call the volume; its file's name when absent")
    .addOption(new Option("--mkfs <type>", "make a filesystem first").choices(["ext4", "xfs", "btrfs"]))
    .option("--force", "with --mkfs: destroy what is there")
    .option("-C, --connections <n>", "NBD connections of the kernel's driver", integer(1, 16), 4)
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

  command("umount", "unmount and close", daily)
    .argument("<dir>")
    .examples("tresor umount /mnt")
    .action(
      lazy(
        () => import("./commands/mount.ts"),
        (m) => m.umount,
      ),
    )

  command("resize", "take over the backing store's new size", daily)
    .argument("<name>")
    .examples("truncate -s 2G disk.img && tresor resize work")
    .action(
      lazy(
        () => import("./commands/resize.ts"),
        (m) => m.resize,
      ),
    )

  const key = command("key", "passphrases of a volume", keys)
  const keyCommand = (name: string, description: string) =>
    (key.command(name) as TresorCommand).description(description).argument("<path>").header()
  const fresh = (each: TresorCommand) =>
    each
      .option("--new-key-file <file>", "read the new passphrase from a file, whole; - is standard input")
      .option("--new-keyfile-size <bytes>", "read that many bytes of it", integer(0, 8 << 20))
      .option("--new-keyfile-offset <bytes>", "skip that many bytes of it", integer(0, Number.MAX_SAFE_INTEGER))
      .option("--new-key-slot <n>", "keyslot of the new passphrase; a free one when absent", parseSlot)
      .option("--portable", "a slot that cryptsetup opens too, without the sealed salt")
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
    .slot("the keyslot to destroy; the one the passphrase opens when absent")
    .option("--force", "also the last one: the data is lost")
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
    .option("--check-only", "only test the recovery key and report on the other slots")
    .option("-t, --timeout <seconds>", "wait that long for a passphrase to be typed", integer(0, 86400))
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

  command("adopt", "add a Tresor passphrase to a volume of cryptsetup's", keys)
    .argument("<path>")
    .option("--new-key-file <file>", "read the new passphrase from a file, whole")
    .option("--new-key-slot <n>", "keyslot of the new passphrase", parseSlot)
    .recoveryKey()
    .option("--no-recovery", "add no recovery key")
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

  command("release", "undo adopt: leave a volume to cryptsetup again", keys)
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

  command("wipe", "destroy every keyslot: the data is lost for ever", keys)
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

  const head = command("header", "back a header up, restore it, vouch for it", header)
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
  headCommand("restore", "put a backup back")
    .argument("<file>")
    .option("--force", "although the UUIDs differ")
    .batch()
    .examples("tresor header restore disk.img disk.header")
    .action(
      lazy(
        () => import("./commands/header.ts"),
        (m) => m.restore,
      ),
    )
  headCommand("authenticate", "vouch with a passphrase for a header that cryptsetup changed")
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

  command("check", "examine a header; repair what can be", header)
    .argument("<path>")
    .option("--repair", "write a broken copy anew from the good one")
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
    .argument("[uuid]", "the new one")
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
    .argument("[label]", "the new one")
    .header()
    .examples("tresor label disk.img backup")
    .action(
      lazy(
        () => import("./commands/label.ts"),
        (m) => m.label,
      ),
    )

  command("selftest", "run every enclave operation against published vectors", machine)
    .enclave()
    .json()
    .examples("tresor selftest")
    .action(
      lazy(
        () => import("./commands/selftest.ts"),
        (m) => m.selftest,
      ),
    )

  command("doctor", "what this machine offers, what is missing, what it means", machine)
    .json()
    .examples("tresor doctor")
    .action(
      lazy(
        () => import("./commands/doctor.ts"),
        (m) => m.doctor,
      ),
    )

  command("bench", "how fast this machine and its enclave are", machine)
    .argument("[path]", "folder for a scratch volume of 80 MiB; the temporary folder when absent")
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
      "quotes, policies, known enclaves",
      "tresor attest show",
      async () => (await import("./commands/attest.ts")).registerAttestCommands,
    ],
    kernel: [
      "tresor.ko: build, install, load, status, unload",
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

/** Commands of a header as a whole. */
import { Option } from "commander"
import { integer, parseSlot } from "../options.ts"
import type { TresorCommand } from "../tresor-command.ts"

export function headerCommands(program: TresorCommand): void {
  const command = (name: string, description: string) => program.child(name, description).helpGroup("Header:")

  command("dump", "show a volume's header")
    .argument("<path>")
    .header()
    .json()
    .option("--dump-json-metadata", "print the metadata alone, as JSON")
    .examples("tresor dump disk.img")
    .runs("dump", (m) => m.dump)

  const head = command("header", "back up, restore or authenticate a header")
  const headCommand = (name: string, description: string) => head.child(name, description).argument("<path>").header()
  headCommand("backup", "copy the header to a file, in cryptsetup's format")
    .argument("<file>")
    .examples("tresor header backup disk.img disk.header")
    .runs("header", (m) => m.backup)
  headCommand("restore", "restore the header from a backup")
    .argument("<file>")
    .option("--force", "restore even if UUID or volume key differ, or a reencryption is pending")
    .batch()
    .examples("tresor header restore disk.img disk.header")
    .runs("header", (m) => m.restore)
  headCommand("authenticate", "recompute the header's MACs after cryptsetup changed it")
    .secrets()
    .slot()
    .enclave()
    .examples("tresor header authenticate disk.img")
    .runs("header", (m) => m.authenticate)
  head.examples("tresor header backup disk.img disk.header")

  command("check", "examine a header; repair a damaged copy")
    .argument("<path>")
    .option("--repair", "rewrite a damaged copy from the intact one")
    .batch()
    .header()
    .json()
    .examples("tresor check disk.img")
    .runs("check", (m) => m.check)

  command("uuid", "print a volume's UUID, or set it")
    .argument("<path>")
    .argument("[uuid]", "new UUID")
    .header()
    .examples("tresor uuid disk.img")
    .runs("label", (m) => m.uuid)

  command("label", "print a volume's label, or set it")
    .argument("<path>")
    .argument("[label]", "new label")
    .header()
    .examples("tresor label disk.img backup")
    .runs("label", (m) => m.label)

  command("config", "set the label, the subsystem, or a keyslot's priority")
    .argument("<path>")
    .addOption(
      new Option("--priority <priority>", "when the keyslot is tried: first, by its number, or only if named").choices([
        "prefer",
        "normal",
        "ignore",
      ]),
    )
    .slot("keyslot of the priority")
    .option("--label <label>", "label in the header (blkid LABEL)")
    .option("--subsystem <label>", "label of a subsystem in the header")
    .header()
    .examples("tresor config disk.img --priority prefer --key-slot 1")
    .runs("config", (m) => m.config)

  command("isLuks", "exit with 0 if there is a LUKS header, with 1 if there is none")
    .argument("<path>")
    .addOption(new Option("--type <type>", "LUKS version").choices(["luks", "luks1", "luks2"]).default("luks"))
    .header()
    .examples("tresor isLuks disk.img && tresor dump disk.img")
    .runs("isLuks", (m) => m.isLuks)

  const token = command("token", "import, export or remove tokens of other programs")
  const tokenCommand = (name: string, description: string) => token.child(name, description).argument("<path>").header()
  const number = (each: TresorCommand, text: string) => each.option("--token-id <n>", text, integer(0, 31))
  const fresh = (each: TresorCommand) =>
    number(each, "number of the token (default: a free one)")
      .option("--token-replace", "replace the token that has this number")
      .slot("assign the token to this keyslot")
  const file = (each: TresorCommand, text: string) => each.option("--json-file <file>", text)
  file(fresh(tokenCommand("import", "store a token")), "read the token from a file (default: standard input)")
    .examples("tresor token import disk.img --json-file token.json")
    .runs("token", (m) => m.importFrom)
  file(
    number(tokenCommand("export", "print a token"), "number of the token"),
    "write the token to a file (default: standard output)",
  )
    .examples("tresor token export disk.img --token-id 0")
    .runs("token", (m) => m.exportTo)
  number(tokenCommand("remove", "remove a token"), "number of the token")
    .examples("tresor token remove disk.img --token-id 0")
    .runs("token", (m) => m.remove)
  fresh(tokenCommand("add", "store a token for a passphrase in the kernel's keyring, which cryptsetup uses"))
    .option("--key-description <text>", "description of the key in the keyring")
    .option("--unbound", "assign the token to no keyslot (default: to all)")
    .examples("tresor token add disk.img --key-description my:key")
    .runs("token", (m) => m.add)
  number(tokenCommand("unassign", "take a token from a keyslot"), "number of the token")
    .option("-S, --key-slot <n>", "keyslot that the token is taken from", parseSlot)
    .examples("tresor token unassign disk.img --token-id 0 --key-slot 1")
    .runs("token", (m) => m.unassign)
  token.examples("tresor token export disk.img --token-id 0")
}

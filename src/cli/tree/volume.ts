/** Commands of open volumes, and of those to be opened or made. */
import { Option } from "commander"
import { MOST_TRANSITION_CYCLES } from "../../control/option-limits.ts"
import { SECTOR_SIZES } from "../../luks2/limits.ts"
import { FILESYSTEMS } from "../../mount/filesystem.ts"
import { integer, oneOf, parseSize } from "../options.ts"
import type { TresorCommand } from "../tresor-command.ts"

export function volumeCommands(program: TresorCommand): void {
  const command = (name: string, description: string) => program.child(name, description).helpGroup("Volumes:")

  command("demo", "run every step on a scratch volume; needs no root, leaves nothing behind")
    .enclave()
    .examples("tresor demo")
    .runs("demo", (m) => m.demo)

  command("create", "create an encrypted volume")
    .argument("<path>", "a new file, or a block device")
    .option("--size <size>", "volume size, such as 64M or 1G (default: the whole device)", parseSize)
    .option("--label <label>", "label in the header (blkid LABEL)")
    .option("--subsystem <label>", "label of a subsystem in the header")
    .option("--uuid <uuid>", "UUID of the volume (default: random)")
    .option("--sector-size <bytes>", "size of an encryption sector: 512, 1024, 2048 or 4096", (text: string) =>
      Number(oneOf(...SECTOR_SIZES.map(String))(text)),
    )
    .option(
      "-s, --key-size <bits>",
      "size of the volume key: 512 (AES-256) or 256 (AES-128)",
      (text: string) => Number(oneOf("256", "512")(text)),
      512,
    )
    .pbkdf()
    .secrets()
    .verify("ask for the passphrase twice, also in batch mode")
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
    .runs("create", (m) => m.create)

  command("open", "unlock a volume and serve it over NBD")
    .argument("[path]", "file, block device or NBD URI")
    .argument("[name]", "name for the open volume")
    .option("--all", "the volumes of /etc/tresortab that are opened at boot (root; systemd)")
    .option("--test-passphrase", "only test the passphrase; open nothing")
    .secrets()
    .verify()
    .opening()
    .header()
    .enclave()
    .succession()
    .option("--persistent", "store in the header whether --allow-discards was given, for every later open")
    .option("--locked", "start locked; give the passphrase later with `tresor setkey`")
    .option("--block", "make it a block device, /dev/tresor/NAME (root; Linux 6.5 or newer)")
    .option("--vhost-user", "serve it to a virtual machine as a vhost-user-blk disk instead")
    .option("--kernel", "map it as /dev/mapper/NAME through tresor.ko")
    .option("--socket <file>", "NBD and vhost-user: serve on this socket, for clients of other users")
    .option("--socket-group <group>", "group of that socket")
    .option("--socket-mode <mode>", "mode of that socket: 0600 (default) or 0660")
    .option(
      "--transition-cycles <n>",
      "software backend: burn this many cycles per entry and exit, to model SGX (typical: 14000)",
      integer(0, MOST_TRANSITION_CYCLES),
    )
    .json()
    .examples("tresor open disk.img work", "tresor open disk.img work --key-file key.bin --json")
    .runs("open", (m) => m.open)

  command("close", "flush, wipe the keys and stop the service")
    .argument("[name]")
    .option("--all", "every open volume of this user")
    .option("--force", "close even if the volume is in use")
    .option("--deferred", "close when the last client leaves")
    .examples("tresor close work", "tresor close --all")
    .runs("close", (m) => m.close)

  command("list", "list open volumes")
    .alias("ls")
    .json()
    .option("--watch [seconds]", "show rates, every so many seconds (default: 1)", integer(1, 3600))
    .examples("tresor list", "tresor list --watch")
    .runs("list", (m) => m.list)

  command("status", "show an open volume: state, protection, counters")
    .argument("[name]", "default: all open volumes")
    .json()
    .examples("tresor status work")
    .runs("status", (m) => m.status)

  command("metrics", "print the state and counters of open volumes as OpenMetrics text")
    .option("--output <file>", "replace this file instead, for node_exporter's textfile collector")
    .option("--http", "answer one HTTP request on standard input, as tresor-metrics.socket has it")
    .examples("tresor metrics", "tresor metrics --output /var/lib/prometheus/node-exporter/tresor.prom")
    .runs("metrics", (m) => m.metrics)

  command("lock", "wipe the keys and suspend I/O")
    .argument("[name]")
    .option("--all", "every open volume of this user")
    .option("--if-open", "succeed if the volume is not open")
    .examples("tresor lock work", "tresor lock --all")
    .runs("lock", (m) => m.lock)

  command("setkey", "unlock a locked volume")
    .argument("[name]")
    .option("--all", "every locked volume of this user: each passphrase is tried on all that wait")
    .secrets()
    .verify()
    .slot()
    .option("--policy <file>", "what the enclave must prove before it gets a passphrase (see `tresor attest`)")
    .succession()
    .option("--remote <user@host>", "the volume is on another machine, reached by ssh")
    .option("--unsealed", "with --remote: also try keyslots not sealed to that enclave (recovery key, portable)")
    .option("--legacy", "unlock a mapping made by the commands of 2016")
    .passwordAgent()
    .option("--rsh <command>", "remote shell", "ssh")
    .option("--remote-tresor <command>", "tresor command on the other machine", "tresor")
    .examples("tresor setkey work", "tresor setkey --all", "tresor setkey work --remote root@server")
    .runs("setkey", (m) => m.setkey)

  program
    .command("bridge", { hidden: true })
    .description("connect standard input and output to a volume's control socket")
    .argument("<name>")
    .runs("setkey", (m) => m.bridge)

  command("mount", "open a volume and mount its filesystem")
    .argument("<path>", "file, block device, NBD URI, or the name of an open volume")
    .argument("<dir>", "mount point")
    .option("--name <name>", "name for the open volume (default: name of the file)")
    .option("-o, --options <options>", "options of the filesystem, as for mount(8)")
    .option("--fstype <type>", "type of the filesystem (default: as blkid finds it)")
    .addOption(new Option("--mkfs <type>", "make a filesystem before mounting").choices([...FILESYSTEMS]))
    .option("--force", "with --mkfs: overwrite existing data")
    .option("--nbd", "use the kernel's NBD driver (or nbdfuse), even where ublk is available")
    .option("-C, --connections <n>", "number of NBD connections of the kernel's driver", integer(1, 16), 4)
    .secrets()
    .passwordAgent()
    .opening()
    .header()
    .enclave()
    .succession()
    .examples("tresor mount disk.img /mnt --mkfs ext4", "tresor mount disk.img /mnt", "tresor mount work /mnt")
    .runs("mount", (m) => m.mount)

  command("umount", "unmount a filesystem and close its volume")
    .argument("<dir>")
    .examples("tresor umount /mnt")
    .runs("mount", (m) => m.umount)

  command("resize", "grow to the backing store's new size")
    .argument("<name>")
    .examples("truncate -s 2G disk.img && tresor resize work")
    .runs("resize", (m) => m.resize)

  command("upgrade", "have the installed version take an open volume over; mounts and clients stay")
    .argument("[name]")
    .option("--all", "every open volume of this user")
    .option("--approve", "ask for a passphrase and approve the installed version's enclave first")
    .secrets()
    .slot()
    .option("--policy <file>", "with --approve: what the running enclave must prove before it gets a passphrase")
    .examples("tresor upgrade work", "tresor upgrade work --approve")
    .runs("upgrade", (m) => m.upgrade)

  command("reencrypt", "move a volume's data to a new volume key, made in the enclave")
    .argument("<path|name>", "file or block device, or name of an open volume")
    .option("--encrypt", "encrypt plaintext in place: make a volume of it")
    .option("--decrypt", "decrypt a volume in place; its header is in --header, or moved to that new file first")
    .option(
      "--reduce-device-size <size>",
      "with --encrypt: this much of the end is unused; half is for the header",
      parseSize,
    )
    .option("--resume", "go on with a pending reencryption; do not begin one")
    .option("--pause", "pause the reencryption of an open volume at the end of a zone")
    .option("--authenticate", "vouch for what another program made of a pending reencryption")
    .addOption(
      new Option("--resilience <mode>", "how an interrupted zone is recovered (default: checksum)").choices([
        "checksum",
        "journal",
      ]),
    )
    .option(
      "--hotzone-size <size>",
      "most bytes converted at once; twice that is the memory it takes (default: 64M; open volume: 8M)",
      parseSize,
    )
    .option("--sector-size <bytes>", "new size of an encryption sector (default: as it is)", (text: string) =>
      Number(oneOf(...SECTOR_SIZES.map(String))(text)),
    )
    .option("-s, --key-size <bits>", "new size of the volume key (default: as it is)", (text: string) =>
      Number(oneOf("256", "512")(text)),
    )
    .option(
      "--carry-key-file <file>",
      "also keep the passphrase in this file; repeat it for more",
      (file: string, before: readonly string[] | undefined) => [...(before ?? []), file],
    )
    .option("--progress-frequency <seconds>", "print a line of progress that often instead of a bar", integer(1, 3600))
    .option("--throttle <MB/s>", "limit of the rate", integer(1, 1_000_000))
    .secrets()
    .slot("keyslot of the passphrase")
    .pbkdf()
    .sealPolicy()
    .recoveryKey()
    .option("--no-recovery", "make no recovery key: an old one opens the volume no longer")
    .option("--portable", "with --encrypt: make a keyslot without sealed salt, which cryptsetup can open too")
    .verify("with --encrypt: ask for the new passphrase twice, also in batch mode")
    .header()
    .enclave()
    .batch()
    .examples(
      "tresor reencrypt disk.img",
      "tresor reencrypt --resume disk.img",
      "tresor reencrypt --encrypt --reduce-device-size 32M disk.img",
      "tresor reencrypt --decrypt --header disk.header disk.img",
    )
    .runs("reencrypt", (m) => m.reencrypt)
}

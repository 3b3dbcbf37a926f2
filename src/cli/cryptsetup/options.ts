/**
 * Every option of cryptsetup (2.6.1 by its --help and man pages; of 2.7 and 2.8 what their release notes add), and
 * what becomes of it. verbs.ts has exceptions. Pure.
 */
import { as, type Fate, kept, only, operand, refused } from "./fate.ts"

export interface CryptsetupOption {
  readonly short?: string
  /** What its value is called; absent: it has none. */
  readonly value?: string
  readonly fate: Fate
}

const flag = (fate: Fate, short?: string): CryptsetupOption => ({ fate, ...(short === undefined ? {} : { short }) })
const valued = (value: string, fate: Fate, short?: string): CryptsetupOption => ({ value, ...flag(fate, short) })

const NEVER_LEAVES = refused("the volume key never leaves the enclave; give a passphrase or a recovery key")
const DATA_AT_16M = refused("data begins 16 MiB after the header, or at 0 with --header; leave it out")
const NO_INTEGRITY = refused(
  "Tresor has no authenticated encryption of sectors, only an authenticated header; use `cryptsetup luksFormat`",
)
const NO_QUEUES = refused("it tunes dm-crypt, which serves no sectors here; leave it out")
const LUKS1_ONLY = refused("it is for LUKS1; leave it out")
const OTHER_FORMAT = refused("Tresor opens LUKS2 only; use cryptsetup for other formats")
const PLAIN = refused("it is for plain dm-crypt, and Tresor opens LUKS2 only; use cryptsetup")
const NO_TOKEN_CHOICE = refused("Tresor asks for a passphrase and finds its own tokens; leave it out")
const NO_OPAL = refused("Tresor does not use a drive's own encryption; use cryptsetup")
const UNBOUND = refused("Tresor makes and opens keyslots of the volume key only; use cryptsetup")
const DEBUG = refused("the environment variable TRESOR_DEBUG=1 shows where an error comes from")

export const OPTIONS: Readonly<Record<string, CryptsetupOption>> = {
  "active-name": valued("NAME", refused("give the name as the operand")),
  "align-payload": valued("SECTORS", DATA_AT_16M),
  "allow-discards": flag(as("allow-discards")),
  "batch-mode": flag(as("batch-mode"), "q"),
  "block-size": valued("MiB", LUKS1_ONLY, "B"),
  "cancel-deferred": flag(refused("a deferred close stays one; open the volume again when it is closed")),
  cipher: valued(
    "CIPHER",
    only(
      ["aes-xts-plain64"],
      "it is the cipher of every volume",
      "volumes of Tresor are aes-xts-plain64; leave it out",
    ),
    "c",
  ),
  debug: flag(DEBUG),
  "debug-json": flag(DEBUG),
  decrypt: flag(as("decrypt")),
  deferred: flag(as("deferred")),
  "device-size": valued(
    "BYTES",
    refused("a volume has the size of its file or device; resize that and run `tresor resize`"),
  ),
  "disable-blkid": flag(refused("what the device holds is always looked at; --force overwrites it")),
  "disable-external-tokens": flag(kept("no plug-ins are loaded")),
  "disable-keyring": flag(kept("no key is put into a keyring of the kernel")),
  "disable-locks": flag(refused("a header is read and changed under its lock only; leave it out")),
  "disable-veracrypt": flag(kept("only LUKS2 is opened")),
  "dump-json-metadata": flag(as("dump-json-metadata")),
  "dump-master-key": flag(NEVER_LEAVES),
  "dump-volume-key": flag(NEVER_LEAVES),
  encrypt: flag(as("encrypt")),
  "external-tokens-path": valued("DIR", refused("Tresor loads no plug-ins; leave it out")),
  "force-offline-reencrypt": flag(kept("a closed volume is reencrypted offline, an open one in use")),
  "force-password": flag(kept("the quality of a passphrase is not judged")),
  hash: valued(
    "HASH",
    only(
      ["sha256"],
      "it is the hash of every new header",
      "new headers and keyslots are made with sha256; leave it out",
    ),
    "h",
  ),
  header: valued("FILE", as("header")),
  "header-backup-file": valued("FILE", operand),
  "hotzone-size": valued("BYTES", as("hotzone-size")),
  "hw-opal": flag(NO_OPAL),
  "hw-opal-factory": flag(NO_OPAL),
  "hw-opal-only": flag(NO_OPAL),
  "init-only": flag(refused("a reencryption is begun and run in one step; SIGINT pauses it")),
  integrity: valued("ALGORITHM", NO_INTEGRITY, "I"),
  "integrity-key-size": valued("BITS", NO_INTEGRITY),
  "integrity-legacy-padding": flag(NO_INTEGRITY),
  "integrity-no-journal": flag(NO_INTEGRITY),
  "integrity-no-wipe": flag(NO_INTEGRITY),
  "iter-time": valued("MS", as("iter-time"), "i"),
  "iv-large-sectors": flag(PLAIN),
  "json-file": valued("FILE", as("json-file")),
  "keep-key": flag(refused("a reencryption makes a new volume key; leave it out")),
  "key-description": valued("TEXT", as("key-description")),
  "key-file": valued("FILE", as("key-file"), "d"),
  "key-size": valued("BITS", as("key-size"), "s"),
  "key-slot": valued("N", as("key-slot"), "S"),
  "keyfile-offset": valued("BYTES", as("keyfile-offset")),
  "keyfile-size": valued("BYTES", as("keyfile-size"), "l"),
  "keyslot-cipher": valued(
    "CIPHER",
    only(["aes-xts-plain64"], "it is the cipher of every keyslot", "keyslots are aes-xts-plain64; leave it out"),
  ),
  "keyslot-key-size": valued(
    "BITS",
    only(["512"], "it is the size of every keyslot's key", "keyslots have keys of 512 bits; leave it out"),
  ),
  label: valued("LABEL", as("label")),
  "link-vk-to-keyring": valued("KEY", NEVER_LEAVES),
  "luks2-keyslots-size": valued("BYTES", refused("new headers have one layout, of 16 MiB; leave it out")),
  "luks2-metadata-size": valued("BYTES", refused("new headers have one layout, of 16 MiB; leave it out")),
  "master-key-file": valued("FILE", NEVER_LEAVES),
  new: flag(as("encrypt"), "N"),
  "new-key-slot": valued("N", as("new-key-slot")),
  "new-keyfile": valued("FILE", as("new-key-file")),
  "new-keyfile-offset": valued("BYTES", as("new-keyfile-offset")),
  "new-keyfile-size": valued("BYTES", as("new-keyfile-size")),
  "new-token-id": valued("N", NO_TOKEN_CHOICE),
  offset: valued("SECTORS", DATA_AT_16M, "o"),
  pbkdf: valued("KDF", as("pbkdf")),
  "pbkdf-force-iterations": valued("N", as("pbkdf-force-iterations")),
  "pbkdf-memory": valued("KiB", as("pbkdf-memory")),
  "pbkdf-parallel": valued("N", as("pbkdf-parallel")),
  "perf-no_read_workqueue": flag(NO_QUEUES),
  "perf-no_write_workqueue": flag(NO_QUEUES),
  "perf-same_cpu_crypt": flag(NO_QUEUES),
  "perf-submit_from_crypt_cpus": flag(NO_QUEUES),
  persistent: flag(as("persistent")),
  priority: valued("PRIORITY", as("priority")),
  "progress-frequency": valued("SECONDS", as("progress-frequency")),
  "progress-json": flag(refused("progress is for people; leave it out, or use --progress-frequency")),
  readonly: flag(as("readonly"), "r"),
  "reduce-device-size": valued("BYTES", as("reduce-device-size")),
  refresh: flag(refused("options of an open volume do not change; close it and open it with others")),
  resilience: valued("TYPE", as("resilience")),
  "resilience-hash": valued(
    "HASH",
    only(["sha256"], "it is the hash of every checksum", "checksums are sha256; leave it out"),
  ),
  "resume-only": flag(as("resume")),
  "sector-size": valued("BYTES", as("sector-size")),
  "serialize-memory-hard-pbkdf": flag(refused("each tresord derives by itself; open one volume after the other")),
  shared: flag(PLAIN),
  size: valued(
    "SECTORS",
    refused("a volume has the size of its file or device; resize that and run `tresor resize`"),
    "b",
  ),
  skip: valued("SECTORS", PLAIN, "p"),
  subsystem: valued("LABEL", as("subsystem")),
  "tcrypt-backup": flag(OTHER_FORMAT),
  "tcrypt-hidden": flag(OTHER_FORMAT),
  "tcrypt-system": flag(OTHER_FORMAT),
  "test-args": flag(refused("arguments are checked before anything is done; leave it out")),
  "test-passphrase": flag(as("test-passphrase")),
  timeout: valued("SECONDS", as("timeout"), "t"),
  "token-id": valued("N", as("token-id")),
  "token-only": flag(NO_TOKEN_CHOICE),
  "token-replace": flag(as("token-replace")),
  "token-type": valued("TYPE", NO_TOKEN_CHOICE),
  tries: valued("N", as("tries"), "T"),
  type: valued(
    "TYPE",
    only(
      ["luks2", "luks"],
      "LUKS2 is the only type",
      "Tresor opens and makes LUKS2 only; use cryptsetup, or for LUKS1 `cryptsetup convert`",
    ),
    "M",
  ),
  unbound: flag(UNBOUND),
  "use-directio": flag(LUKS1_ONLY),
  "use-fsync": flag(LUKS1_ONLY),
  "use-random": flag(kept("keys come from the enclave's own generator")),
  "use-urandom": flag(kept("keys come from the enclave's own generator")),
  uuid: valued("UUID", as("uuid")),
  veracrypt: flag(OTHER_FORMAT),
  "veracrypt-pim": valued("N", OTHER_FORMAT),
  "veracrypt-query-pim": flag(OTHER_FORMAT),
  verbose: flag(as("verbose"), "v"),
  "verify-passphrase": flag(as("verify-passphrase"), "y"),
  "volume-key-file": valued("FILE", NEVER_LEAVES),
  "volume-key-keyring": valued("KEY", NEVER_LEAVES),
  "write-log": flag(LUKS1_ONLY),
}

/** Every verb of cryptsetup: the command of ours that it is, or why there is none. Pure. */
import { as, type Fate, kept, operand, refused } from "./fate.ts"

export interface MappedVerb {
  /** Our command, and options that it is run with. */
  readonly to: string
  readonly preset?: readonly string[]
  /** What cryptsetup takes in which order: an operand of ours, or the value of one of our options ("--name"; "--name?" may be missing). */
  readonly operands: readonly string[]
  /** Its options, by its man page. */
  readonly takes: readonly string[]
  /** Where the fate of an option is another than in options.ts. */
  readonly except?: Readonly<Record<string, Fate>>
  /** How ours differs. */
  readonly remark?: string
}

export type Verb = MappedVerb | { readonly refused: string }

const KEY_FILE = ["key-file", "keyfile-offset", "keyfile-size"] as const
const PBKDF = ["pbkdf", "pbkdf-memory", "pbkdf-parallel", "pbkdf-force-iterations", "iter-time"] as const
const KEYSLOT = ["keyslot-cipher", "keyslot-key-size", "hash", "force-password"] as const
const TYPED = ["timeout", "verify-passphrase"] as const
const HEADER = ["header", "disable-locks"] as const
const TOKENS = ["token-id", "token-only", "token-type", "disable-external-tokens"] as const

const NO_TOKEN = refused("Tresor asks for a passphrase and finds its own tokens; leave it out")
const PLAIN_ONLY = refused("it is for plain dm-crypt, and Tresor opens LUKS2 only; use cryptsetup")
const KNOWS_HEADER = kept("an open volume knows where its header is")
const ONE_KEY_SIZE = refused("it is for a volume key of your own, and that never leaves the enclave; leave it out")
const NO_SECRET = kept("no passphrase is needed")
const OPENS_LUKS2 = { refused: "Tresor opens LUKS2 only; use cryptsetup for other formats" }
const DUMPS_LUKS2 = { refused: "Tresor reads LUKS2 only; use cryptsetup for other formats" }
const BENCH = refused("`tresor bench` measures what Tresor uses; leave it out")

/** Verbs of cryptsetup by their present names. */
export const VERBS: Readonly<Record<string, Verb>> = {
  luksFormat: {
    to: "create",
    operands: ["path", "--key-file?"],
    takes: [
      ...[...KEY_FILE, ...PBKDF, ...KEYSLOT, ...TYPED, ...HEADER],
      ...["cipher", "key-size", "key-slot", "use-random", "use-urandom", "uuid", "volume-key-file", "type", "offset"],
      ...["align-payload", "integrity", "integrity-no-wipe", "integrity-legacy-padding", "sector-size", "label"],
      ...["subsystem", "disable-keyring", "luks2-metadata-size", "luks2-keyslots-size"],
    ],
    remark:
      "The passphrase is sealed to this machine: cryptsetup opens the volume with the recovery key, or with a passphrase made " +
      "by `--portable`. Without a terminal `--recovery-key-file` or `--no-recovery` is needed. What looks like data is overwritten " +
      "with `--force` only, also after `-q`.",
  },
  open: {
    to: "open",
    operands: ["path", "name"],
    takes: [
      ...[...KEY_FILE, ...TYPED, ...HEADER, ...TOKENS],
      ...["readonly", "test-passphrase", "allow-discards", "key-slot", "volume-key-file", "disable-keyring", "type"],
      ...["refresh", "serialize-memory-hard-pbkdf", "unbound", "tries", "persistent"],
      ...["perf-same_cpu_crypt", "perf-submit_from_crypt_cpus", "perf-no_read_workqueue", "perf-no_write_workqueue"],
    ],
    except: {
      "token-id": NO_TOKEN,
      "key-size": PLAIN_ONLY,
      "sector-size": PLAIN_ONLY,
      hash: PLAIN_ONLY,
      cipher: PLAIN_ONLY,
    },
    remark:
      "Serves NBD and prints the URI. `--block` makes a block device, /dev/tresor/NAME, `--kernel` /dev/mapper/NAME.",
  },
  close: {
    to: "close",
    operands: ["name"],
    takes: ["deferred", "cancel-deferred", ...HEADER],
    except: { header: KNOWS_HEADER },
  },
  resize: {
    to: "resize",
    operands: ["name"],
    takes: ["size", "device-size", ...TOKENS, "key-slot", ...KEY_FILE, ...TYPED, "disable-keyring", "disable-locks"],
    except: {
      "token-id": NO_SECRET,
      "token-only": NO_SECRET,
      "token-type": NO_SECRET,
      "key-slot": NO_SECRET,
      "key-file": NO_SECRET,
      "keyfile-offset": NO_SECRET,
      "keyfile-size": NO_SECRET,
      timeout: NO_SECRET,
      "verify-passphrase": NO_SECRET,
    },
  },
  status: { to: "status", operands: ["name"], takes: [...HEADER], except: { header: KNOWS_HEADER } },
  benchmark: {
    to: "bench",
    operands: [],
    takes: ["cipher", "key-size", "hash", "pbkdf", "iter-time", "pbkdf-memory", "pbkdf-parallel"],
    except: {
      cipher: BENCH,
      "key-size": BENCH,
      hash: BENCH,
      pbkdf: BENCH,
      "iter-time": BENCH,
      "pbkdf-memory": BENCH,
      "pbkdf-parallel": BENCH,
    },
    remark: "Measures a scratch volume, the enclave and its KDFs.",
  },
  repair: {
    to: "check",
    preset: ["--repair"],
    operands: ["path"],
    takes: [...KEY_FILE, "key-slot", ...TYPED, ...HEADER, "type"],
    except: {
      "key-file": NO_SECRET,
      "keyfile-offset": NO_SECRET,
      "keyfile-size": NO_SECRET,
      "key-slot": NO_SECRET,
      timeout: NO_SECRET,
      "verify-passphrase": NO_SECRET,
    },
    remark:
      "Rewrites a damaged copy of the header from the other one; an interrupted reencryption goes on with `tresor reencrypt --resume`.",
  },
  reencrypt: {
    to: "reencrypt",
    operands: ["path"],
    takes: [
      ...[...KEY_FILE, ...PBKDF, ...HEADER],
      ...[
        "active-name",
        "block-size",
        "cipher",
        "decrypt",
        "device-size",
        "encrypt",
        "force-offline-reencrypt",
        "hash",
      ],
      ...["hotzone-size", "init-only", "keep-key", "key-size", "key-slot", "tries", "timeout", "type"],
      ...["progress-frequency", "progress-json", "reduce-device-size", "resilience", "resilience-hash", "resume-only"],
      ...["sector-size", "use-directio", "use-random", "use-urandom", "use-fsync", "uuid", "volume-key-file"],
      ...["write-log", "new", "verify-passphrase"],
    ],
    except: { uuid: refused("a volume keeps its UUID, and a new one has one of its own; leave it out") },
    remark:
      "Of an open volume, give the name. Keyslots whose passphrase is not given go, and the recovery key is replaced by a new one. " +
      "Resilience is checksum or journal.",
  },
  erase: {
    to: "wipe",
    operands: ["path"],
    takes: [...HEADER, "hw-opal-factory"],
    remark: "Asks for the volume's UUID instead of YES.",
  },
  convert: {
    refused:
      "Tresor opens LUKS2 only; `cryptsetup convert --type luks2` converts LUKS1, and `tresor adopt` adds a passphrase of Tresor",
  },
  config: {
    to: "config",
    operands: ["path"],
    takes: ["priority", "label", "subsystem", "key-slot", ...HEADER],
  },
  luksAddKey: {
    to: "key add",
    operands: ["path", "--new-key-file?"],
    takes: [
      ...[...KEY_FILE, ...PBKDF, ...KEYSLOT, ...TYPED, ...HEADER, ...TOKENS],
      ...["new-keyfile", "new-keyfile-offset", "new-keyfile-size", "key-slot", "new-key-slot", "volume-key-file"],
      ...["unbound", "type", "key-size", "new-token-id"],
    ],
    except: {
      // cryptsetup: the new keyslot, unless that is named by its own option.
      "key-slot": { as: "new-key-slot", beside: { option: "new-key-slot", as: "key-slot" } },
      "token-id": NO_TOKEN,
      "key-size": ONE_KEY_SIZE,
    },
    remark: "The passphrase is sealed to this machine, unless `--portable` is given.",
  },
  luksRemoveKey: {
    to: "key remove",
    operands: ["path", "--key-file?"],
    takes: [...KEY_FILE, ...TYPED, ...HEADER, "type"],
    remark: "The last keyslot goes with `--force` only, also after `-q`.",
  },
  luksChangeKey: {
    to: "key change",
    operands: ["path", "--new-key-file?"],
    takes: [
      ...KEY_FILE,
      ...PBKDF,
      ...KEYSLOT,
      ...TYPED,
      ...HEADER,
      "new-keyfile-offset",
      "new-keyfile-size",
      "key-slot",
      "type",
    ],
    except: {
      "key-slot": refused(
        "a new passphrase gets a keyslot of another number before the old one is destroyed; leave it out, or use `tresor key change --key-slot`",
      ),
    },
  },
  luksConvertKey: {
    refused: "a keyslot keeps its KDF; `tresor key change` makes a new one, also for the same passphrase",
  },
  luksKillSlot: {
    to: "key remove",
    operands: ["path", "--key-slot"],
    takes: [...KEY_FILE, ...TYPED, ...HEADER, "type"],
    remark: "A passphrase is needed, also after `-q`; the last keyslot goes with `--force` only.",
  },
  luksUUID: {
    to: "uuid",
    operands: ["path"],
    takes: ["uuid", "type", ...HEADER],
    except: { uuid: operand },
    remark: "A new UUID is refused while passphrases are sealed to the old one.",
  },
  isLuks: { to: "isLuks", operands: ["path"], takes: ["type", ...HEADER], except: { type: as("type") } },
  luksDump: {
    to: "dump",
    operands: ["path"],
    takes: [
      ...["dump-volume-key", "dump-json-metadata", ...KEY_FILE, ...HEADER],
      ...["volume-key-file", "type", "unbound", "key-slot", "timeout"],
    ],
    except: {
      "key-file": NO_SECRET,
      "keyfile-offset": NO_SECRET,
      "keyfile-size": NO_SECRET,
      timeout: NO_SECRET,
      "key-slot": refused("all keyslots are shown, and no unbound one is opened; leave it out"),
    },
  },
  luksSuspend: { to: "lock", operands: ["name"], takes: [...HEADER], except: { header: KNOWS_HEADER } },
  luksResume: {
    to: "setkey",
    operands: ["name"],
    takes: [...KEY_FILE, "key-slot", ...HEADER, "disable-keyring", ...TOKENS, "type", "tries", ...TYPED],
    except: { header: KNOWS_HEADER, "token-id": NO_TOKEN },
  },
  luksHeaderBackup: {
    to: "header backup",
    operands: ["path"],
    takes: [...HEADER, "header-backup-file"],
  },
  luksHeaderRestore: {
    to: "header restore",
    operands: ["path"],
    takes: [...HEADER, "header-backup-file"],
    remark: "A backup of another UUID is restored with `--force` only.",
  },
  "token add": {
    to: "token add",
    operands: ["path"],
    takes: [
      ...HEADER,
      "token-id",
      "key-slot",
      "key-description",
      "token-replace",
      "unbound",
      "disable-external-tokens",
      "disable-keyring",
    ],
    except: { unbound: as("unbound") },
  },
  "token remove": {
    to: "token remove",
    operands: ["path"],
    takes: [...HEADER, "token-id", "disable-external-tokens", "disable-keyring"],
    remark: "Not for tokens of Tresor, which go with their keyslot.",
  },
  "token import": {
    to: "token import",
    operands: ["path"],
    takes: [
      ...HEADER,
      "token-id",
      "key-slot",
      "json-file",
      "token-replace",
      "disable-external-tokens",
      "disable-keyring",
    ],
    remark: "Not for tokens of Tresor.",
  },
  "token export": {
    to: "token export",
    operands: ["path"],
    takes: [...HEADER, "token-id", "json-file", "disable-external-tokens", "disable-keyring"],
  },
  "token unassign": {
    to: "token unassign",
    operands: ["path"],
    takes: [...HEADER, "token-id", "key-slot", "disable-external-tokens", "disable-keyring"],
  },
  refresh: { refused: "options of an open volume do not change; close it and open it with others" },
  tcryptDump: DUMPS_LUKS2,
  bitlkDump: DUMPS_LUKS2,
  fvault2Dump: DUMPS_LUKS2,
  plainOpen: OPENS_LUKS2,
  loopaesOpen: OPENS_LUKS2,
  tcryptOpen: OPENS_LUKS2,
  bitlkOpen: OPENS_LUKS2,
  fvault2Open: OPENS_LUKS2,
}

/** Older names. `create`, which was plainOpen, is a command of ours. */
export const ALIASES: Readonly<Record<string, string>> = {
  luksOpen: "open",
  luksClose: "close",
  remove: "close",
  plainClose: "close",
  loopaesClose: "close",
  tcryptClose: "close",
  bitlkClose: "close",
  fvault2Close: "close",
  luksErase: "erase",
  luksConfig: "config",
}

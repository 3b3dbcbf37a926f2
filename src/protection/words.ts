/**
 * What a backend protects from which attacker, in the words of `status`, `doctor` and
 * `demo`. The weakest memory a secret can lie in decides: nothing is promised
 * beyond it. Pure.
 */
import type { Backend } from "../abi/enclave.ts"
import type { MemoryKinds } from "../native/addon.ts"

export interface Protection {
  readonly protected: readonly string[]
  readonly exposed: readonly string[]
}

/** Strength; what is not known is "plain". */
const RANK: Readonly<Record<string, number>> = { plain: 0, mlock: 1, memfd_secret: 2, EPC: 3 }

const REGIONS = {
  keys: "the keys",
  stacks: "registers saved at a signal",
  heap: "the heap (passphrases, slot keys, memory of a KDF)",
} as const satisfies Readonly<Record<keyof MemoryKinds, string>>

const WHAT: Readonly<Record<string, string>> = {
  EPC: "the processor's enclave page cache, encrypted by it",
  memfd_secret: "memfd_secret(2): not in dumps or swap, and not readable through /proc/PID/mem",
  mlock: "locked memory: not in dumps or swap; root can read it",
  plain: "ordinary memory: not in dumps; root can read it, and it may be swapped",
}

const kindOf = (name: string): string => (name in RANK ? name : "plain")

export function describeMemory(kind: string): string {
  return WHAT[kindOf(kind)]!
}

export function weakest(memory: MemoryKinds): string {
  const kinds = [memory.keys, memory.stacks, memory.heap].map(kindOf)
  return kinds.reduce((least, kind) => (RANK[kind]! < RANK[least]! ? kind : least))
}

/** The kernel does not hibernate while memfd_secret(2) is in use, by anybody. */
const mayHibernate = (memory: MemoryKinds): boolean =>
  ![memory.keys, memory.stacks, memory.heap].includes("memfd_secret")

/** Regions of software memory that are not memfd_secret, one line for each kind. */
function exposedRegions(memory: MemoryKinds): string[] {
  const image = mayHibernate(memory) ? ["a hibernation image"] : []
  const ways = {
    mlock: [...image, "reads of tresord's memory by root: it is locked memory"].join(" and "),
    plain: ["swap", ...image, "reads of tresord's memory by root: it is ordinary memory"].join(" and "),
  }
  return (["plain", "mlock"] as const).flatMap((kind) => {
    const regions = (Object.keys(REGIONS) as (keyof MemoryKinds)[])
      .filter((region) => kindOf(memory[region]) === kind)
      .map((region) => REGIONS[region])
    return regions.length === 0 ? [] : [`${regions.join("; ")}, from ${ways[kind]}`]
  })
}

/** Which attackers the weakest memory keeps out. */
function keptFrom(memory: MemoryKinds): string {
  const image = mayHibernate(memory) ? [] : ["hibernation images"]
  switch (weakest(memory)) {
    case "memfd_secret":
      return [
        "core dumps",
        "swap",
        ...image,
        "reads of tresord's memory (/proc/PID/mem, process_vm_readv), also by root",
      ].join(", ")
    case "mlock":
      return ["core dumps", "swap", ...image].join(", ")
    default:
      // Also a software enclave that says EPC: it does not know, and nothing is promised for it.
      return ["core dumps", ...image].join(", ")
  }
}

/** Where a machine secret is: in a file, or sealed to the TPM, with a PIN or without. */
export type SecretKeeping = "file" | "tpm2" | "tpm2-pin"

const BY_SECRET: Readonly<Record<SecretKeeping, Protection>> = {
  file: {
    protected: ["the passphrase, from guessing with a stolen disk that does not hold this machine's secret file"],
    exposed: [],
  },
  tpm2: {
    protected: ["the passphrase, from guessing with stolen disks: the machine secret is sealed to this machine's TPM"],
    exposed: [
      "the passphrase, from guessing by a thief of the whole machine: another system booted with the same PCRs unseals the machine secret; a PIN prevents it",
    ],
  },
  "tpm2-pin": {
    protected: [
      "the passphrase, from guessing with stolen disks: the machine secret is sealed to this machine's TPM",
      "the passphrase, from guessing by a thief of the whole machine that is off: it takes the PIN too, whose wrong attempts the TPM counts",
    ],
    exposed: [],
  },
}

/** What the place of the machine secret adds, and does not. */
export const secretProtection = (keeping: SecretKeeping): Protection => BY_SECRET[keeping]

/** `debug`: of the enclave's ATTRIBUTES; every software enclave has it. `secret`: where its machine secret is. */
export function protection(
  backend: Backend,
  memory: MemoryKinds,
  debug: boolean,
  secret: SecretKeeping = "file",
): Protection {
  const always = ["plaintext of the open volume, from root on this machine"]
  if (backend === "sgx" && debug) {
    return {
      protected: ["passphrases and keys, from DMA and cold boot"],
      exposed: [
        "passphrases and keys, from root and the kernel: this is a debug enclave, whose memory they read",
        ...always,
      ],
    }
  }
  if (backend === "sgx") {
    return {
      protected: [
        "passphrases and keys, from root, the kernel, a hypervisor, DMA and cold boot",
        "the passphrase, from guessing with a stolen disk: guessing needs this CPU",
      ],
      exposed: always,
    }
  }
  return {
    protected: [`passphrases and keys, from ${keptFrom(memory)}`, ...BY_SECRET[secret].protected],
    exposed: [
      ...BY_SECRET[secret].exposed,
      ...exposedRegions(memory),
      "passphrases and keys, from root that traces (ptrace), probes (uprobes, perf, BPF) or runs code in tresord",
      "passphrases and keys, from the kernel, a hypervisor, DMA and cold boot: this enclave does not run in SGX",
      ...always,
    ],
  }
}

export function placeOf(path: string, disks: readonly string[]): string {
  return disks.length === 0 ? path : `${path} on ${disks.join(" and ")}`
}

/** What the machine secret is worth. `shared`: whether the volume lies on the same disk; null: not known. */
export function secretRisk(shared: boolean | null, keeping: SecretKeeping = "file"): string {
  if (keeping === "tpm2-pin") return "sealed to the TPM with a PIN: of no use without this machine and the PIN"
  if (keeping === "tpm2")
    return "sealed to the TPM: of no use without this machine; who has all of it boots another system with the same PCRs and guesses on"
  return shared === true
    ? "on the disk of the volume: a thief has both, and only the KDF slows guessing of the passphrase"
    : "for a thief of its disk and the volume's, only the KDF slows guessing of the passphrase"
}

/** What the enclave that was just started is, in what memory, who signed it, and which earlier ones are kept. */

import { formatSize } from "../../base/size.ts"
import type { EnclaveIdentity } from "../../enclave/types.ts"
import { describeMemory, protection } from "../../protection/words.ts"
import type { DoctorCheck } from "./check.ts"
import type { KeptFor, Machine } from "./machine.ts"

/** How to make memfd_secret(2) available. */
function secretMemoryRemedy(fault: string | null): string {
  if (fault === null) return "raise RLIMIT_MEMLOCK (below): memfd_secret did not get all the memory it needs"
  if (fault === "ENOSYS") return "memfd_secret needs Linux 5.14 or newer, before 6.5 with secretmem.enable=1"
  if (fault === "EPERM") {
    return "a seccomp filter refuses memfd_secret (of a container runtime, or SystemCallFilter=); allow it there"
  }
  return `memfd_secret is refused (${fault})`
}

/** What an earlier enclave sealed needs that enclave once more. */
function keptCheck({ kept }: Machine, { mrenclave: running }: EnclaveIdentity): DoctorCheck {
  const words = ({ mrenclave, isvSvn, folder, volumes }: KeptFor): string => {
    const open = volumes.length === 0 ? "no open volume needs it" : `for ${volumes.join(", ")}`
    return `${mrenclave.slice(0, 16)}… (version ${isvSvn}, ${mrenclave === running ? "this installation's" : open}; ${folder})`
  }
  const about = { id: "kept-images", name: "kept enclave images" }
  if (kept instanceof Error || kept.length === 0) {
    return {
      ...about,
      state: "no",
      found: kept instanceof Error ? kept.message : "none",
      means: "what is sealed to this enclave opens with the recovery key only after an upgrade of Tresor",
      remedy: "let this user read and write the state directory",
    }
  }
  const others = kept.some(({ mrenclave }) => mrenclave !== running)
  return {
    ...about,
    state: "info",
    found: kept.map(words).join("; "),
    means: "after an upgrade, the enclave that sealed a keyslot hands it to the new one; it has to be here for that",
    remedy: others
      ? "one may be removed when no volume is sealed to it: `tresor dump` shows the MRENCLAVE of each keyslot"
      : null,
  }
}

/** Whose word a seal of policy mrsigner would take. */
function signerCheck({ signers, formerKeys }: Machine, { mrsigner }: EnclaveIdentity): DoctorCheck {
  const holder = signers.get(mrsigner)
  const found = holder === undefined ? "no release key; the build throws its own away" : `release key of ${holder}`
  if (formerKeys.length > 0) {
    return {
      id: "signer",
      name: "signer of the enclave",
      state: "no",
      found: `${found}; an earlier version left ${formerKeys.join(", ")}`,
      means: "whoever reads that key can sign an enclave that opens what was sealed for it (policy mrsigner)",
      remedy: "npm run build: it signs one image with the key, keeps that for your volumes, and removes the key",
    }
  }
  return {
    id: "signer",
    name: "signer of the enclave",
    state: "info",
    found,
    means:
      holder === undefined
        ? "keyslots are sealed to this exact image; after an upgrade `open` asks once whether the new one may open them"
        : "with `--seal-policy mrsigner`, keyslots open in every later image that key signs: its holder is trusted with them",
    remedy: null,
  }
}

export function enclaveChecks(machine: Machine, identity: EnclaveIdentity | Error): DoctorCheck[] {
  if (identity instanceof Error) {
    return [
      {
        id: "enclave",
        name: "enclave",
        state: "no",
        found: identity.message,
        means: "nothing works without it",
        remedy: "see the message",
      },
    ]
  }
  const { protected: safe, exposed } = protection(
    identity.backend,
    identity.memory,
    identity.debug,
    machine.secret().keeping,
  )
  const checks: DoctorCheck[] = [
    {
      id: "enclave",
      name: "enclave",
      state: "yes",
      found: `backend ${identity.backend}, ${identity.aes}, KDF memory up to ${formatSize(identity.kdfMemoryKib * 1024)}`,
      means: `protected: ${safe.join("; ")}`,
      remedy: null,
    },
    {
      id: "exposed",
      name: "not protected",
      state: "info",
      found: `backend ${identity.backend}`,
      means: exposed.join("; "),
      remedy: null,
    },
  ]
  checks.push(signerCheck(machine, identity), keptCheck(machine, identity))
  if (identity.backend === "sgx") return checks
  for (const [region, name] of [
    ["keys", "memory of keys"],
    ["stacks", "memory of saved registers"],
    ["heap", "memory of the heap"],
  ] as const) {
    const kind = identity.memory[region]
    const secret = kind === "memfd_secret"
    checks.push({
      id: `memory-${region}`,
      name,
      state: secret ? "yes" : kind === "mlock" ? "info" : "no",
      found: kind,
      means: describeMemory(kind),
      remedy: secret ? null : secretMemoryRemedy(machine.secretMemoryFault),
    })
  }
  return checks
}

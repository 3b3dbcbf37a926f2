/** What the checks look at: this machine, or one that tests make up. */

import { accessSync, constants, readdirSync } from "node:fs"
import { open } from "node:fs/promises"
import { release } from "node:os"
import { has } from "../../base/programs.ts"
import type { KeptImage } from "../../enclave/kept-images.ts"
import { secretFile, stateDir } from "../../enclave/machine-secret.ts"
import { type ReleaseSigners, releaseSigners } from "../../enclave/release-signers.ts"
import type { SgxMachine } from "../../enclave/sgx-state.ts"
import { disksOf } from "../../protection/disks.ts"
import { files } from "../../protection/files.ts"
import { keepingIn } from "../../protection/secret.ts"
import type { SecretKeeping } from "../../protection/words.ts"

export interface Machine extends SgxMachine {
  list(path: string): readonly string[]
  has(program: string): boolean
  /** The machine secret, and the disks it lies on. */
  secret(): { readonly file: string; readonly disks: readonly string[]; readonly keeping: SecretKeeping }
  /** Errno of memfd_secret(2); `null`: it works. */
  readonly secretMemoryFault: string | null
  /** Errno of io_uring(7); `null`: it works. */
  readonly ringFault: string | null
  /** Who holds a release key, by MRSIGNER. */
  readonly signers: ReleaseSigners
  /** Signing keys that an earlier version left here. */
  readonly formerKeys: readonly string[]
  /** Enclave images that are kept, and the open volumes that run or need each. */
  readonly kept: readonly KeptFor[]
}

export interface KeptFor extends Pick<KeptImage, "mrenclave" | "isvSvn" | "folder"> {
  readonly volumes: readonly string[]
}

/** What the addon tells. */
type Asked = "sgxCpu" | "secretMemoryFault" | "ringFault" | "signers" | "formerKeys" | "kept"

const system: Omit<Machine, Asked> = {
  ...files,
  accessible(path) {
    try {
      accessSync(path, constants.R_OK | constants.W_OK)
      return true
    } catch {
      return false
    }
  },
  list(path) {
    try {
      return readdirSync(path)
    } catch {
      return []
    }
  },
  has,
  secret() {
    const file = secretFile(stateDir())
    return { file, disks: disksOf(file), keeping: keepingIn(stateDir()) }
  },
  kernel: release(),
}

export function cpuFacts(machine: Machine): {
  readonly model: string
  readonly flags: ReadonlySet<string>
  readonly vendor: string
} {
  const text = machine.read("/proc/cpuinfo") ?? ""
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(text)?.[1]?.trim() ?? ""
  return { model: field("model name"), vendor: field("vendor_id"), flags: new Set(field("flags").split(" ")) }
}

/** By reading with it: a file that everybody has. */
async function tryRing(): Promise<string | null> {
  const { ringFault } = await import("../../store/disk.ts")
  const { installed } = await import("../../base/installation.ts")
  const { PRODUCT } = await import("../../enclave/image/files.ts")
  const file = await open(installed(PRODUCT.image))
  try {
    return ringFault(file.fd)
  } finally {
    await file.close()
  }
}

/** Through the addon, which may be what is missing. */
async function askAddon(): Promise<Pick<Machine, Asked>> {
  try {
    const { secretMemoryFault, sgxCpu } = await import("../../native/addon.ts")
    const { installationRoot } = await import("../../base/installation.ts")
    const { formerKeys } = await import("../../enclave/image/former-keys.ts")
    return {
      sgxCpu: sgxCpu(),
      secretMemoryFault: secretMemoryFault(),
      ringFault: await tryRing(),
      signers: releaseSigners(),
      formerKeys: formerKeys(installationRoot),
      kept: await keptFor(),
    }
  } catch {
    return {
      sgxCpu: { sgx: false, launchControl: false, sgx2: false, epcBytes: 0 },
      secretMemoryFault: null,
      ringFault: null,
      signers: new Map(),
      formerKeys: [],
      kept: [],
    }
  }
}

/** The open volumes tell themselves which enclaves their keyslots are sealed to; of closed ones nothing is known. */
async function keptFor(): Promise<readonly KeptFor[]> {
  const { allEntries } = await import("../../control/find.ts")
  const { connectVolume } = await import("../../control/daemon.ts")
  const { keptImages, keptPlaces } = await import("../../enclave/kept-images.ts")
  const users = new Map<string, string[]>()
  for (const { name, owner, live } of allEntries()) {
    if (!live) continue
    try {
      using client = await connectVolume(name, { others: owner !== process.getuid!() })
      const [{ enclave }, { enclaves }] = [await client.status(), await client.call("Predecessors", {})]
      for (const { mrenclave } of [enclave, ...enclaves]) {
        users.set(mrenclave, [...(users.get(mrenclave) ?? []), name])
      }
    } catch {
      // Closed meanwhile, or of a version that has no predecessors.
    }
  }
  const images = new Map(keptImages(keptPlaces()).map((image) => [image.mrenclave, image]))
  return [...images.values()].map((image) => ({ ...image, volumes: users.get(image.mrenclave) ?? [] }))
}

/** This one. */
export async function thisMachine(): Promise<Machine> {
  return { ...system, ...(await askAddon()) }
}

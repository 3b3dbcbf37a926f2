/** What the checks look at: this machine, or one that tests make up. */

import { existsSync, readdirSync } from "node:fs"
import { open } from "node:fs/promises"
import { release } from "node:os"
import { TresorError } from "../../base/errors.ts"
import { installationRoot, installed } from "../../base/installation.ts"
import { has } from "../../base/programs.ts"
import { runtimeRoot } from "../../control/runtime-root.ts"
import { PRODUCT } from "../../enclave/image/files.ts"
import { formerKeys } from "../../enclave/image/former-keys.ts"
import { type KeptImage, keptImages, keptPlaces } from "../../enclave/kept-images.ts"
import { secretFile, stateDir } from "../../enclave/machine-secret.ts"
import { type ReleaseSigners, releaseSigners } from "../../enclave/release-signers.ts"
import type { SgxMachine } from "../../enclave/sgx-state.ts"
import { systemFiles } from "../../enclave/system-files.ts"
import { disksOf } from "../../protection/disks.ts"
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
  /** Enclave images that are kept, and the open volumes that run or need each; an Error: why that cannot be looked up. */
  readonly kept: readonly KeptFor[] | Error
  /** Path of the runtime directory, or why this user has none. */
  readonly runtime: string | TresorError
}

export interface KeptFor extends Pick<KeptImage, "mrenclave" | "isvSvn" | "folder"> {
  readonly volumes: readonly string[]
}

/** What the addon tells. */
type Native = "sgxCpu" | "secretMemoryFault" | "ringFault"

const system: Omit<Machine, Native | "signers" | "formerKeys" | "kept" | "runtime"> = {
  ...systemFiles,
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

/** By reading with it: a file that everybody may read, unlike the program. Without the image nothing works, and that is told. */
async function tryRing(): Promise<string | null> {
  const { ringFault } = await import("../../store/disk.ts")
  const image = installed(PRODUCT.image)
  if (!existsSync(image)) return null
  const file = await open(image)
  try {
    return ringFault(file.fd)
  } finally {
    await file.close()
  }
}

/** Without the addon nothing of that is known, and no volume can be open. */
const NO_ADDON: Pick<Machine, Native> = {
  sgxCpu: { sgx: false, launchControl: false, sgx2: false, epcBytes: 0 },
  secretMemoryFault: null,
  ringFault: null,
}

/** `null`: it is not there; the enclave has not started then, and says so. */
async function askAddon(): Promise<Pick<Machine, Native> | null> {
  let addon: typeof import("../../native/addon.ts")
  try {
    addon = await import("../../native/addon.ts")
  } catch {
    return null
  }
  return { sgxCpu: addon.sgxCpu(), secretMemoryFault: addon.secretMemoryFault(), ringFault: await tryRing() }
}

/** The open volumes tell themselves which enclaves their keyslots are sealed to; of closed ones nothing is known. */
async function usersOfImages(): Promise<ReadonlyMap<string, readonly string[]>> {
  const { askEach } = await import("../../control/ask-each.ts")
  const users = new Map<string, string[]>()
  // One of a version that has no predecessors is left out.
  const asked = await askEach(async (client) => {
    const [{ enclave }, { enclaves }] = [await client.status(), await client.call("Predecessors", {})]
    return [enclave, ...enclaves]
  })
  for (const { name, answer } of asked) {
    for (const { mrenclave } of answer.kind === "given" ? answer.value : []) {
      users.set(mrenclave, [...(users.get(mrenclave) ?? []), name])
    }
  }
  return users
}

function keptFor(users: ReadonlyMap<string, readonly string[]>): readonly KeptFor[] | Error {
  try {
    const images = new Map(keptImages(keptPlaces()).map((image) => [image.mrenclave, image]))
    return [...images.values()].map((image) => ({ ...image, volumes: users.get(image.mrenclave) ?? [] }))
  } catch (error) {
    return error as Error
  }
}

/** What `look` finds, or its TresorError. */
async function orFault<T>(look: () => T | Promise<T>): Promise<T | TresorError> {
  try {
    return await look()
  } catch (error) {
    if (error instanceof TresorError) return error
    throw error
  }
}

/** This one. */
export async function thisMachine(): Promise<Machine> {
  const native = await askAddon()
  const users = native === null ? new Map() : await orFault(usersOfImages)
  const signers = await orFault(releaseSigners)
  const unknown = users instanceof TresorError
  return {
    ...system,
    ...(native ?? NO_ADDON),
    // With a damaged list, nobody's signature counts.
    signers: signers instanceof TresorError ? new Map() : signers,
    formerKeys: formerKeys(installationRoot),
    kept: keptFor(unknown ? new Map() : users),
    runtime: unknown ? users : await orFault(() => runtimeRoot()),
  }
}

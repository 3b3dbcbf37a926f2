import { resolve } from "node:path"
import { rehearse } from "../../attest/trusted-enclave.ts"
import { connectVolume, startDaemon } from "../../control/daemon.ts"
import { type AskedOptions, checkOptions, daemonOptionsSchema } from "../../control/daemon-options.ts"
import { checkName } from "../../control/runtime.ts"
import type { VolumeStatus } from "../../control/volume.ts"
import { isNbdUri } from "../../nbd/uri.ts"
import { out } from "../output/output.ts"
import { summary } from "../summary.ts"
import { type UnlockWords, unlockVolume } from "../unlock.ts"

export interface OpenWords extends UnlockWords, Omit<AskedOptions, "path" | "name"> {
  readonly locked?: true
  readonly json?: true
}

/** A path as the daemon, which runs elsewhere, finds it; an NBD URI stays one. */
function absolute(path: string): string {
  return isNbdUri(path) ? path : resolve(path)
}

/** Starts a tresord and unlocks it. When anything fails or we are interrupted, it ends with us. */
export async function openVolume(path: string, name: string, options: OpenWords): Promise<VolumeStatus> {
  checkName(name)
  const header = options.header == null ? null : absolute(options.header)
  const starting = startDaemon(checkOptions(daemonOptionsSchema, { ...options, path: absolute(path), name, header }))
  // While it starts.
  rehearse().catch(() => {})
  await using daemon = await starting
  using client = await connectVolume(name)
  const status =
    options.locked === true ? await client.status() : await unlockVolume(client, options, { startedHere: true })
  await daemon.stay()
  return status
}

export async function open(path: string, name: string, options: OpenWords): Promise<void> {
  if (options.kernel === true) {
    const { checkKernel } = await import("../../mapping/check.ts")
    checkKernel(path, options)
  }
  const volume = await openVolume(path, name, options)
  if (options.json === true) out.json(summary(volume))
  else out.line(volume.uri)
}

import { resolve } from "node:path"
import { rehearse } from "../../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../../base/errors.ts"
import { connectVolume, startDaemon } from "../../control/daemon.ts"
import { type AskedOptions, checkOptions, daemonOptionsSchema, exportOf } from "../../control/daemon-options.ts"
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
  const way = exportOf({ ...options, path })
  if ((way === "vhost-user" || way === "block") && isNbdUri(path)) throw noThreads(path, way)
  if (way === "kernel") {
    const { checkKernel } = await import("../../mapping/check.ts")
    checkKernel(path, options)
  }
  const volume = await openVolume(path, name, options)
  if (options.json === true) out.json(summary(volume))
  else out.line(volume.uri)
}

function noThreads(path: string, way: string): TresorError {
  return new TresorError(
    "USAGE",
    Exit.badArguments,
    `Cannot open ${path} with --${way}: it is neither a file nor a block device; open it over NBD`,
  )
}

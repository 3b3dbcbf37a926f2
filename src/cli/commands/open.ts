import { resolve } from "node:path"
import type { Backend } from "../../abi/enclave.ts"
import { rehearse } from "../../attest/trusted-enclave.ts"
import { connectVolume, startDaemon } from "../../control/daemon.ts"
import { checkName } from "../../control/runtime.ts"
import type { VolumeStatus } from "../../control/volume.ts"
import { isNbdUri } from "../../nbd/uri.ts"
import { out } from "../output/output.ts"
import { summary } from "../summary.ts"
import { type UnlockOptions, unlockVolume } from "../unlock.ts"

export interface OpenOptions extends UnlockOptions {
  readonly backend: Backend | "auto"
  readonly readonly?: true
  readonly allowDiscards?: true
  readonly direct?: true
  readonly header?: string
  readonly grace?: number
  readonly transitionCycles?: number
  readonly locked?: true
  readonly kernel?: true
  readonly json?: true
}

/** A path as the daemon, which runs elsewhere, finds it; an NBD URI stays one. */
function absolute(path: string): string {
  return isNbdUri(path) ? path : resolve(path)
}

function daemonArguments(path: string, name: string, options: OpenOptions): string[] {
  const args = ["--backend", options.backend]
  if (options.readonly === true) args.push("--readonly")
  if (options.allowDiscards === true) args.push("--allow-discards")
  if (options.direct === true) args.push("--direct")
  if (options.kernel === true) args.push("--kernel")
  if (options.header !== undefined) args.push("--header", resolve(options.header))
  if (options.grace !== undefined) args.push("--grace", String(options.grace))
  if (options.transitionCycles !== undefined) args.push("--transition-cycles", String(options.transitionCycles))
  return [...args, "--", absolute(path), name]
}

/** Starts a tresord and unlocks it. When anything fails or we are interrupted, it ends with us. */
export async function openVolume(path: string, name: string, options: OpenOptions): Promise<VolumeStatus> {
  checkName(name)
  const starting = startDaemon(name, daemonArguments(path, name, options))
  // While it starts.
  rehearse().catch(() => {})
  await using daemon = await starting
  using client = await connectVolume(name)
  const status =
    options.locked === true ? await client.status() : await unlockVolume(client, options, { startedHere: true })
  await daemon.stay()
  return status
}

export async function open(path: string, name: string, options: OpenOptions): Promise<void> {
  if (options.kernel === true) {
    const { checkKernel } = await import("../../mapping/check.ts")
    checkKernel(path, options)
  }
  const volume = await openVolume(path, name, options)
  if (options.json === true) out.json(summary(volume))
  else out.line(volume.uri)
}

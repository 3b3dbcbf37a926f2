import { resolve } from "node:path"
import { rehearse } from "../../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../../base/errors.ts"
import { formatSize } from "../../base/size.ts"
import { connectVolume, startDaemon } from "../../control/daemon.ts"
import { type AskedOptions, checkOptions, daemonOptionsSchema, exportOf } from "../../control/daemon-options.ts"
import { checkName } from "../../control/runtime.ts"
import type { VolumeStatus } from "../../control/volume.ts"
import { isNbdUri } from "../../nbd/uri.ts"
import { offerPin } from "../machine-pin.ts"
import { err, out } from "../output/output.ts"
import { summary } from "../summary.ts"
import { unlockVolume } from "../unlock.ts"
import { type HeaderWords, keepDiscards, testPassphrase } from "./open-header.ts"

export interface OpenWords extends HeaderWords, Omit<AskedOptions, "path" | "name"> {
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
  await offerPin(options.backend ?? "auto")
  const socket = options.socket == null ? null : resolve(options.socket)
  const asked = { ...options, path: absolute(path), name, header, socket }
  const starting = startDaemon(checkOptions(daemonOptionsSchema, asked))
  // While it starts.
  rehearse().catch(() => {})
  await using daemon = await starting
  using client = await connectVolume(name)
  const status =
    options.locked === true ? await client.status() : await unlockVolume(client, options, { startedHere: true })
  if (options.persistent === true) await keepDiscards(path, options)
  await daemon.stay()
  return status
}

const usage = (path: string, fact: string): TresorError =>
  new TresorError("USAGE", Exit.badArguments, `Cannot open ${path}: ${fact}`)

interface OpenAll extends OpenWords {
  readonly all?: true
}

export async function open(path: string | undefined, name: string | undefined, options: OpenAll): Promise<void> {
  if ((path === undefined) !== (options.all === true)) {
    const fact = path === undefined ? "no file or device is named" : "a path and --all exclude each other"
    throw new TresorError("USAGE", Exit.badArguments, `Cannot open: ${fact}; example: tresor open disk.img work`)
  }
  if (path === undefined) return (await import("../open-all.ts")).openAll()
  if (options.testPassphrase === true) return testPassphrase(path, options)
  if (name === undefined) throw usage(path, "a name for it is missing; example: tresor open disk.img work")
  if (options.persistent === true && (options.readonly === true || options.locked === true)) {
    throw usage(path, `--persistent writes to the header, which --${options.locked ? "locked" : "readonly"} excludes`)
  }
  const way = exportOf({ ...options, path })
  if ((way === "vhost-user" || way === "block") && isNbdUri(path)) throw noThreads(path, way)
  if (way === "kernel") {
    const { checkKernel } = await import("../../mapping/check.ts")
    checkKernel(path, options)
  }
  const volume = await openVolume(path, name, options)
  tellPending(volume)
  if (options.json === true) out.json(summary(volume))
  else out.line(volume.uri)
}

function tellPending({ name, reencryption }: VolumeStatus): void {
  if (reencryption === null) return
  const { done, total } = reencryption
  err.line(
    `The reencryption of ${name} is pending: ${formatSize(done)} of ${formatSize(total)} are under the new key; ` +
      `\`tresor reencrypt --resume ${name}\` goes on.`,
  )
}

function noThreads(path: string, way: string): TresorError {
  return new TresorError(
    "USAGE",
    Exit.badArguments,
    `Cannot open ${path} with --${way}: it is neither a file nor a block device; open it over NBD`,
  )
}

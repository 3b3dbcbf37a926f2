import { realpathSync, statSync } from "node:fs"
import { basename, resolve } from "node:path"
import { Exit, TresorError } from "../../base/errors.ts"
import { closeVolume, connectVolume } from "../../control/daemon.ts"
import { isLive, readState } from "../../control/runtime.ts"
import { runtimeRoot } from "../../control/runtime-root.ts"
import { describeHolders } from "../../mount/holders.ts"
import { readRecords } from "../../mount/layers.ts"
import { type Filesystem, isMountPoint, mountVolume, unmount } from "../../mount/mount.ts"
import { isNbdUri } from "../../nbd/uri.ts"
import { out } from "../output/output.ts"
import { type OpenWords, openVolume } from "./open.ts"

interface MountOptions extends OpenWords {
  readonly name?: string
  readonly mkfs?: Filesystem
  readonly force?: true
  readonly nbd?: true
  readonly connections: number
}

/** "/srv/disk 1.img" -> "disk_1.img", or "disk_1.img-2" when that is taken. */
function chooseName(root: string, path: string): string {
  const base =
    basename(path)
      .replace(/[^A-Za-z0-9_.:+@-]/g, "_")
      .replace(/^[^A-Za-z0-9_]+/, "")
      .slice(0, 60) || "volume"
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${base}-${n}`
    if (!isLive(readState(root, name))) return name
  }
}

const WAYS = { ublk: "ublk", nbd: "the NBD driver", loop: "nbdfuse and a loop device" }

/** The fastest way, where this machine has it. */
async function canBlock(path: string): Promise<boolean> {
  if (process.getuid!() !== 0 || isNbdUri(path)) return false
  const { ublkFault } = await import("../../block/control.ts")
  return (await ublkFault()) === null
}

/** Closes a volume that may be closed already. */
async function closeIfOpen(name: string): Promise<void> {
  try {
    await closeVolume(name)
  } catch (error) {
    if (!(error instanceof TresorError && error.code === "NOT_OPEN")) throw error
  }
}

export async function mount(path: string, dir: string, options: MountOptions): Promise<void> {
  const stat = statSync(dir, { throwIfNoEntry: false })
  if (stat?.isDirectory() !== true) {
    throw new TresorError(
      "MOUNT_NO_DIRECTORY",
      Exit.badArguments,
      `Cannot mount on ${dir}: it is not a directory; make it first`,
    )
  }
  const directory = realpathSync(dir)
  if (isMountPoint(directory)) {
    throw new TresorError(
      "MOUNT_BUSY",
      Exit.busy,
      `Cannot mount on ${directory}: another filesystem is mounted there; unmount it or choose another directory`,
    )
  }
  const root = runtimeRoot()
  const block = options.nbd !== true && (await canBlock(path))
  const volume = await openVolume(path, options.name ?? chooseName(root, path), { ...options, block })
  const { through, device } = await mountVolume({
    root,
    name: volume.name,
    path: volume.path,
    directory,
    socket: volume.socket,
    uri: volume.uri,
    block,
    size: volume.size,
    sectorSize: volume.sectorSize,
    readonly: volume.readonly,
    mkfs: options.mkfs ?? null,
    force: options.force === true,
    connections: options.connections,
    close: closeIfOpen,
  })
  out.line(
    through === "file"
      ? `${device} is the decrypted device, as a file; mounting its filesystem needs root: run the same command with sudo.`
      : `${volume.path} is mounted on ${directory} (${volume.name}, ${device} by ${WAYS[through]}).`,
  )
}

/** Unmounting writes, and would wait for the key without a word. */
async function refuseLocked(name: string, directory: string): Promise<void> {
  let state: string
  try {
    using volume = await connectVolume(name)
    ;({ state } = await volume.status())
  } catch {
    // Its tresord has ended: what is left is undone.
    return
  }
  if (state !== "locked") return
  throw new TresorError(
    "VOLUME_LOCKED",
    Exit.busy,
    `Cannot unmount ${directory}: ${name} is locked, and unmounting needs to write to it; run \`tresor setkey ${name}\` first`,
  )
}

export async function umount(dir: string): Promise<void> {
  const root = runtimeRoot()
  // realpath fails on a directory whose FUSE server died.
  let directory = resolve(dir)
  try {
    directory = realpathSync(dir)
  } catch {}
  const record = readRecords(root).find((each) => each.directory === directory)
  if (record === undefined) {
    throw new TresorError("NOT_MOUNTED", Exit.wrongDevice, `Cannot unmount ${dir}: no Tresor volume is mounted there`)
  }
  await refuseLocked(record.name, directory)
  const { failures } = await unmount(root, record, closeIfOpen)
  const holders = failures.length > 0 && isMountPoint(directory) ? describeHolders(directory) : null
  if (holders !== null) {
    throw new TresorError(
      "UMOUNT_BUSY",
      Exit.busy,
      `Cannot unmount ${directory}: in use by ${holders}; end it and run the command again`,
    )
  }
  if (failures.length > 0) {
    throw new TresorError(
      "UMOUNT_PARTLY",
      Exit.busy,
      `Cannot undo all of the mount on ${directory}: ${failures.join("; ")}; end what uses it and run the command again`,
    )
  }
}

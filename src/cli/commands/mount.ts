import { accessSync, constants, existsSync, realpathSync, statSync } from "node:fs"
import { basename, resolve } from "node:path"
import { Exit, TresorError } from "../../base/errors.ts"
import { closeVolume, connectVolume } from "../../control/daemon.ts"
import { isOpen, openAs } from "../../control/in-use.ts"
import { isLive, readState } from "../../control/runtime.ts"
import { runtimeRoot } from "../../control/runtime-root.ts"
import type { VolumeStatus } from "../../control/volume.ts"
import { callerOf, type Filesystem, splitOptions } from "../../mount/filesystem.ts"
import { describeHolders } from "../../mount/holders.ts"
import { readRecords } from "../../mount/layers.ts"
import { isMountPoint, mountVolume, unmount, type Way } from "../../mount/mount.ts"
import { isNbdUri } from "../../nbd/uri.ts"
import { out } from "../output/output.ts"
import { type UnlockWords, unlockVolume } from "../unlock.ts"
import { type OpenWords, openVolume } from "./open.ts"

interface MountOptions extends OpenWords, UnlockWords {
  readonly name?: string
  readonly options?: string
  readonly fstype?: string
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

const WAYS: Readonly<Record<Way, string>> = {
  ublk: "ublk",
  "tresor.ko": "tresor.ko",
  nbd: "the NBD driver",
  loop: "nbdfuse and a loop device",
}

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

/** The open volume that a path leads to, or whose name it is; `null`: there is none, and the path is to be opened. */
function openName(path: string): string | null {
  if (isNbdUri(path) || existsSync(path)) return openAs(path)
  return isOpen(path) ? path : null
}

function inUse(name: string, fact: string): TresorError {
  return new TresorError("VOLUME_IN_USE", Exit.busy, `Cannot mount ${name}: ${fact}`)
}

/** Another user of its sectors and a filesystem of ours would destroy each other's data. */
function refuseShared(root: string, { name, export: way, readonly, counters }: VolumeStatus): void {
  const record = readRecords(root).find((each) => each.name === name)
  if (record !== undefined) {
    throw inUse(name, `it is mounted on ${record.directory}; run \`tresor umount ${record.directory}\` first`)
  }
  if (way === "vhost-user") throw inUse(name, "it is a disk of a virtual machine; open it without --vhost-user")
  const clients = way === "nbd" ? (counters["connections"] ?? 0) : 0
  if (clients > 0 && !readonly)
    throw inUse(name, `an NBD client is connected to it (${clients} connections); end it first`)
}

/** A volume that was open before, unlocked. */
async function takeOpen(root: string, name: string, options: MountOptions): Promise<VolumeStatus> {
  using client = await connectVolume(name)
  const volume = await client.status()
  refuseShared(root, volume)
  return volume.state === "unlocked" ? volume : await unlockVolume(client, options)
}

/** The block device that the kernel makes of it already. */
function deviceOf({ export: way, uri }: VolumeStatus) {
  if (way === "block") return { path: uri, by: "ublk" } as const
  return way === "kernel" ? ({ path: uri, by: "tresor.ko" } as const) : null
}

/** As fusermount3(1) wants it of a mount point. */
function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK)
    return true
  } catch {
    return process.getuid!() === 0
  }
}

function refuseDirectory(dir: string, directory: string | null): void {
  if (directory === null) {
    throw new TresorError(
      "MOUNT_NO_DIRECTORY",
      Exit.badArguments,
      `Cannot mount on ${dir}: it is not a directory; make it first`,
    )
  }
  if (!isWritable(directory)) {
    throw new TresorError(
      "MOUNT_NEEDS_ROOT",
      Exit.denied,
      `Cannot mount on ${directory}: you cannot write to it; choose a directory of your own, or run the same command with sudo`,
    )
  }
  if (!isMountPoint(directory)) return
  throw new TresorError(
    "MOUNT_BUSY",
    Exit.busy,
    `Cannot mount on ${directory}: another filesystem is mounted there; unmount it or choose another directory`,
  )
}

export async function mount(path: string, dir: string, options: MountOptions): Promise<void> {
  const directory = statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true ? realpathSync(dir) : null
  refuseDirectory(dir, directory)
  // As `mount -o ro,loop` does: what is mounted read-only is not written below either.
  const readonly = options.readonly === true || splitOptions(options.options ?? "").includes("ro")
  if (readonly && options.mkfs !== undefined) {
    throw new TresorError(
      "USAGE",
      Exit.badArguments,
      `Cannot make ${options.mkfs} on ${path}: --mkfs writes, and it is to be mounted read-only`,
    )
  }
  const root = runtimeRoot()
  const opened = openName(path)
  const block = options.nbd !== true && opened === null && (await canBlock(path))
  const volume =
    opened === null
      ? await openVolume(path, options.name ?? chooseName(root, path), { ...options, readonly, block })
      : await takeOpen(root, opened, options)
  const { through, device } = await mountVolume({
    root,
    name: volume.name,
    path: volume.path,
    directory: directory!,
    socket: volume.socket,
    uri: volume.uri,
    device: deviceOf(volume),
    sectorSize: volume.sectorSize,
    readonly: readonly || volume.readonly,
    type: options.fstype ?? null,
    options: options.options ?? "",
    owner: callerOf(process.env, { uid: process.getuid!(), gid: process.getgid!() }),
    mkfs: options.mkfs ?? null,
    force: options.force === true,
    connections: options.connections,
    own: opened === null,
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

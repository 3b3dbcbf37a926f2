/** Builds and undoes the layers of layers.ts with the kernel's and util-linux' tools. */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { has, run, start, tryRun } from "../base/programs.ts"
import { announce, checkLink, makeLink, removeLink, renounce } from "../block/link.ts"
import {
  deviceSector,
  FILESYSTEMS,
  type Filesystem,
  filesystemBlock,
  filesystemOn,
  hasOwner,
  makeFilesystem,
  mountOptions,
  type Owner,
  signature,
} from "./filesystem.ts"
import { fuseDirectory, type Layer, type MountRecord, removeRecord, saveRecord, undoLayers } from "./layers.ts"

/** Has umount(8) undo what mountVolume built, where it is installed. */
const UMOUNT_HELPERS = ["/sbin/umount.tresor", "/usr/sbin/umount.tresor"]

/** How a block device is made of a volume: by the kernel's ublk or tresor.ko, and nothing is to be attached; or here. */
export type Way = "ublk" | "tresor.ko" | "nbd" | "loop"

export interface MountRequest {
  readonly root: string
  readonly name: string
  readonly path: string
  readonly directory: string
  readonly socket: string
  readonly uri: string
  /** The block device that the volume is already; `null`: it is served over NBD. */
  readonly device: { readonly path: string; readonly by: "ublk" | "tresor.ko" } | null
  readonly sectorSize: number
  readonly readonly: boolean
  /** For mount(8) -t; `null`: as blkid finds it. */
  readonly type: string | null
  /** For mount(8) -o. */
  readonly options: string
  /** Whom a new filesystem belongs to, and the files of one that stores no owners. */
  readonly owner: Owner
  readonly mkfs: Filesystem | null
  /** mkfs over an existing signature. */
  readonly force: boolean
  /** NBD connections of the kernel's driver. */
  readonly connections: number
  /** The volume was opened for this mount, and is closed with it. */
  readonly own: boolean
  readonly close: (name: string) => Promise<void>
}

export interface Mounted {
  /** "file" ends in a plaintext device file, the others in a mounted filesystem. */
  readonly through: Way | "file"
  /** The block device, or the file. */
  readonly device: string
}

/** How long a device may take to appear. */
const APPEAR_MS = 10_000

async function appear(what: string, ready: () => boolean): Promise<void> {
  const deadline = Date.now() + APPEAR_MS
  while (!ready()) {
    if (Date.now() > deadline) {
      throw new TresorError(
        "MOUNT_TIMEOUT",
        Exit.wrongDevice,
        `Cannot mount: ${what} did not appear in ${APPEAR_MS / 1000} s`,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function nbdDriver(): Promise<boolean> {
  if (!has("nbd-client")) return false
  if (existsSync("/sys/block/nbd0")) return true
  if (!has("modprobe")) return false
  await tryRun("modprobe", ["nbd"])
  return existsSync("/sys/block/nbd0")
}

/** Connects the first free /dev/nbdN. Another process may take it between look and connect: then the next. */
async function attachNbd(request: MountRequest, sectorSize: number): Promise<string> {
  const names = readdirSync("/sys/block")
    .filter((name) => /^nbd\d+$/.test(name))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
  let last = "every /dev/nbdN is in use"
  for (const name of names) {
    if (existsSync(`/sys/block/${name}/pid`) || readFileSync(`/sys/block/${name}/size`, "utf8").trim() !== "0") continue
    const device = `/dev/${name}`
    // Connecting makes udev look at it.
    announce(request.name, device)
    const args = [
      "-unix",
      request.socket,
      device,
      "-connections",
      String(request.connections),
      "-timeout",
      "60",
      "-persist",
    ]
    const ran = await tryRun("nbd-client", [
      ...args,
      "-block-size",
      String(sectorSize),
      ...(request.readonly ? ["-readonly"] : []),
    ])
    if (ran.code === 0) return device
    renounce(device)
    last = ran.stderr.split("\n").at(-1) ?? last
  }
  throw new TresorError("MOUNT_NBD", Exit.busy, `Cannot attach an nbd device: ${last}`)
}

async function attachFuse(request: MountRequest, directory: string, file: string): Promise<string> {
  const path = join(directory, file)
  await start("nbdfuse", [...(request.readonly ? ["-r"] : []), path, request.uri])
  await appear(path, () => statSync(path, { throwIfNoEntry: false })?.isFile() === true)
  return path
}

/** Layers that stand, in the record from the moment that they do. */
class Built {
  readonly record: MountRecord
  readonly #root: string
  readonly #layers: Layer[]

  constructor({ root, name, path, directory, own }: MountRequest) {
    this.#root = root
    this.#layers = own ? [{ kind: "volume", name }] : []
    this.record = { version: 1, name, path, directory, layers: this.#layers }
    saveRecord(root, this.record)
  }

  add(layer: Layer): void {
    this.#layers.push(layer)
    saveRecord(this.#root, this.record)
  }

  /** The last one, which is the caller's to undo. */
  take(): Layer {
    const layer = this.#layers.pop()!
    saveRecord(this.#root, this.record)
    return layer
  }
}

async function attachLoop(request: MountRequest, built: Built): Promise<string> {
  const directory = fuseDirectory(request.root, request.name)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // Recorded first: a nbdfuse that fails half way is undone too.
  built.add({ kind: "fuse", directory, made: true })
  const file = await attachFuse(request, directory, "device")
  const block = request.mkfs === null ? await filesystemBlock(file) : null
  const device = await run("attach a loop device", "losetup", [
    "--find",
    "--show",
    "--sector-size",
    String(deviceSector(request.sectorSize, block)),
    ...(request.readonly ? ["--read-only"] : []),
    file,
  ])
  built.add({ kind: "loop", device })
  // Past FUSE's page cache, where all would be cached twice in pieces of 128 KiB. Refused: slower, no more.
  await tryRun("losetup", ["--direct-io=on", device])
  return device
}

/** A block device with sectors that the filesystem on it can have. */
async function attach(request: MountRequest, built: Built): Promise<Mounted> {
  if (request.device !== null) {
    const { path: device, by } = request.device
    const block = request.mkfs === null ? await filesystemBlock(device) : null
    if (deviceSector(request.sectorSize, block) !== request.sectorSize) {
      throw new TresorError(
        "MOUNT_SECTOR",
        Exit.wrongDevice,
        `Cannot mount ${request.path}: its filesystem has blocks of ${block} bytes, the block device sectors of ${request.sectorSize}; mount it with --nbd`,
      )
    }
    return { through: by, device }
  }
  if (!(await nbdDriver())) return { through: "loop", device: await attachLoop(request, built) }
  let device = await attachNbd(request, request.sectorSize)
  built.add({ kind: "nbd", device })
  const sector = deviceSector(request.sectorSize, request.mkfs === null ? await filesystemBlock(device) : null)
  if (sector !== request.sectorSize) {
    await undoLayer(built.take(), request.close)
    device = await attachNbd(request, sector)
    built.add({ kind: "nbd", device })
  }
  return { through: "nbd", device }
}

/** /dev/tresor/NAME, as of a volume opened with --block. The mount works without it too: the name may be taken. */
function linkDevice({ name }: MountRequest, device: string, built: Built): void {
  try {
    checkLink(name)
    makeLink(name, device)
  } catch {
    return
  }
  built.add({ kind: "link", name, device })
}

async function mountFilesystem(request: MountRequest, device: string, built: Built): Promise<void> {
  const { path, directory, mkfs, owner, readonly } = request
  if (mkfs !== null) await makeFilesystem({ type: mkfs, path, device, force: request.force })
  const type = mkfs ?? request.type ?? (await filesystemOn(device))
  if (type === null && (await signature(device)) === null) {
    throw new TresorError(
      "MOUNT_BLANK",
      Exit.wrongDevice,
      `Cannot mount ${path}: it holds no filesystem; add --mkfs ${FILESYSTEMS.slice(0, -1).join(", ")} or ${FILESYSTEMS.at(-1)} the first time`,
    )
  }
  const options = mountOptions({
    type,
    asked: request.options,
    readonly,
    owner,
    helper: UMOUNT_HELPERS.some((helper) => existsSync(helper)),
  })
  await run(`mount ${path} on ${directory}`, "mount", [
    ...(request.type === null ? [] : ["-t", request.type]),
    ...(options === "" ? [] : ["-o", options]),
    device,
    directory,
  ])
  built.add({ kind: "filesystem", directory })
  if (mkfs === null || !hasOwner(mkfs)) return
  try {
    chownSync(directory, owner.uid, owner.gid)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new TresorError(
      "MOUNT_OWNER",
      Exit.denied,
      `Cannot give the new filesystem on ${directory} to user ${owner.uid}: ${code}; mount it without --mkfs, and use chown`,
    )
  }
}

/**
 * Mounts an open volume. When a step fails, the layers built so far are undone, the volume too if it was opened for
 * this, and the error is thrown.
 */
export async function mountVolume(request: MountRequest): Promise<Mounted> {
  const built = new Built(request)
  try {
    if (process.getuid!() !== 0) {
      if (request.mkfs !== null) {
        throw new TresorError(
          "MOUNT_NEEDS_ROOT",
          Exit.denied,
          `Cannot make ${request.mkfs}: mounting a filesystem needs root; run the same command with sudo`,
        )
      }
      built.add({ kind: "fuse", directory: request.directory, made: false })
      return { through: "file", device: await attachFuse(request, request.directory, request.name) }
    }
    const attached = await attach(request, built)
    if (request.device === null) linkDevice(request, attached.device, built)
    await mountFilesystem(request, attached.device, built)
    return attached
  } catch (error) {
    const { failures } = await unmount(request.root, built.record, request.close)
    if (failures.length === 0) throw error
    throw new TresorError(
      "MOUNT_UNDO",
      Exit.busy,
      `${(error as Error).message}; and what was set up is not all undone: ${failures.join("; ")}`,
    )
  }
}

/**
 * Undoes a mount. The record keeps the layers that could not be undone, so
 * that a second try can.
 */
export async function unmount(
  root: string,
  record: MountRecord,
  close: (name: string) => Promise<void>,
): Promise<{ readonly failures: readonly string[] }> {
  const undone = await undoLayers(record.layers, (layer) => undoLayer(layer, close))
  if (undone.left.length === 0) removeRecord(root, record)
  else saveRecord(root, { ...record, layers: [...undone.left] })
  return undone
}

async function undoLayer(layer: Layer, close: (name: string) => Promise<void>): Promise<void> {
  switch (layer.kind) {
    case "filesystem":
      if (!isMountPoint(layer.directory)) return
      // Not by umount.tresor, which is what runs.
      await run(`unmount ${layer.directory}`, "umount", ["--internal-only", layer.directory])
      return
    case "link":
      removeLink(layer.name, layer.device)
      return
    case "loop":
      if (!existsSync(`/sys/block/${layer.device.slice(5)}/loop/backing_file`)) return
      await run(`detach ${layer.device}`, "losetup", ["--detach", layer.device])
      // Detach is lazy while somebody holds the device open.
      await appear(
        `the end of ${layer.device}`,
        () => !existsSync(`/sys/block/${layer.device.slice(5)}/loop/backing_file`),
      )
      return
    case "fuse":
      if (isMountPoint(layer.directory)) {
        if (process.getuid!() === 0) await run(`unmount ${layer.directory}`, "umount", [layer.directory])
        else await run(`unmount ${layer.directory}`, "fusermount3", ["-u", layer.directory])
      }
      if (layer.made && existsSync(layer.directory)) rmdirSync(layer.directory)
      return
    case "nbd":
      renounce(layer.device)
      if (!existsSync(`/sys/block/${layer.device.slice(5)}/pid`)) return
      await run(`detach ${layer.device}`, "nbd-client", ["-d", layer.device])
      return
    case "volume":
      await close(layer.name)
  }
}

/** Whether something is mounted on a directory, also one whose server has died (ENOTCONN). */
export function isMountPoint(directory: string): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .some((line) => unescapePath(line.split(" ")[4] ?? "") === directory)
}

/** mountinfo writes space, tab, newline and backslash as octal (proc(5)). */
function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

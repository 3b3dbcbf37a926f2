/** Builds and undoes the layers of layers.ts with the kernel's and util-linux' tools. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { has, run, start, tryRun } from "../base/programs.ts"
import { fuseDirectory, type Layer, type MountRecord, removeRecord, saveRecord, undoLayers } from "./layers.ts"

export const FILESYSTEMS = ["ext4", "xfs", "btrfs"] as const
export type Filesystem = (typeof FILESYSTEMS)[number]

export interface MountRequest {
  readonly root: string
  readonly name: string
  readonly path: string
  readonly directory: string
  readonly socket: string
  readonly uri: string
  /** Opened with --block: the block device, and nothing is to be attached. */
  readonly block: boolean
  readonly size: number
  readonly sectorSize: number
  readonly readonly: boolean
  readonly mkfs: Filesystem | null
  /** mkfs over an existing signature. */
  readonly force: boolean
  /** NBD connections of the kernel's driver. */
  readonly connections: number
  readonly close: (name: string) => Promise<void>
}

export interface Mounted {
  /** "ublk", "nbd" and "loop" end in a mounted filesystem, "file" in a plaintext device file. */
  readonly through: "ublk" | "nbd" | "loop" | "file"
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

/**
 * Bytes of a block of the filesystem on a file or device, as blkid tells; `null`: it does not. The kernel mounts none
 * on a device with longer sectors: one that was made with sectors of 512 and copied here needs a device with such.
 */
async function filesystemBlock(device: string): Promise<number | null> {
  const ran = await tryRun("blkid", ["-p", "-o", "value", "-s", "BLOCK_SIZE", device])
  const size = Number(ran.stdout.trim())
  return ran.code === 0 && size >= SMALLEST_SECTOR ? size : null
}

const SMALLEST_SECTOR = 512

/** Of the device to mount from. The volume takes parts of its sectors as well. */
function deviceSector(sectorSize: number, block: number | null): number {
  return block !== null && block < sectorSize ? SMALLEST_SECTOR : sectorSize
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

/** Kinds blkid finds at the start of a device: "ext4", "LVM2_member"; null when it is blank. */
export async function signature(device: string): Promise<string | null> {
  const ran = await tryRun("blkid", ["-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", device])
  return ran.code === 0 && ran.stdout !== "" ? ran.stdout.split("\n").join(", ") : null
}

async function makeFilesystem(request: MountRequest, device: string, type: Filesystem): Promise<void> {
  const found = await signature(device)
  if (found !== null && !request.force) {
    throw new TresorError(
      "MKFS_EXISTS",
      Exit.busy,
      `Cannot make ${type} on ${request.path}: it holds ${found} already; mount it without --mkfs, or use --force to overwrite it`,
    )
  }
  const args: Readonly<Record<Filesystem, readonly string[]>> = {
    ext4: ["-q", "-F"],
    xfs: ["-q", "-f"],
    btrfs: ["-q", "-f"],
  }
  await run(`make ${type} on ${request.path}`, `mkfs.${type}`, [...args[type], device])
}

/**
 * Mounts an open volume. When a step fails, the layers built so far, the
 * volume included, are undone and the error is thrown.
 */
export async function mountVolume(request: MountRequest): Promise<Mounted> {
  const layers: Layer[] = [{ kind: "volume", name: request.name }]
  const record: MountRecord = {
    version: 1,
    name: request.name,
    path: request.path,
    directory: request.directory,
    layers,
  }
  const built = (layer: Layer) => {
    layers.push(layer)
    saveRecord(request.root, record)
  }
  saveRecord(request.root, record)
  try {
    if (process.getuid!() !== 0) {
      if (request.mkfs !== null) {
        throw new TresorError(
          "MOUNT_NEEDS_ROOT",
          Exit.denied,
          `Cannot make ${request.mkfs}: mounting a filesystem needs root; run the same command with sudo`,
        )
      }
      // Recorded first: a nbdfuse that fails half way is undone too.
      built({ kind: "fuse", directory: request.directory, made: false })
      return { through: "file", device: await attachFuse(request, request.directory, request.name) }
    }
    let device: string
    let through: "ublk" | "nbd" | "loop"
    if (request.block) {
      device = request.uri
      const block = request.mkfs === null ? await filesystemBlock(device) : null
      if (deviceSector(request.sectorSize, block) !== request.sectorSize) {
        throw new TresorError(
          "MOUNT_SECTOR",
          Exit.wrongDevice,
          `Cannot mount ${request.path}: its filesystem has blocks of ${block} bytes, the block device sectors of ${request.sectorSize}; mount it with --nbd`,
        )
      }
      through = "ublk"
    } else if (await nbdDriver()) {
      device = await attachNbd(request, request.sectorSize)
      built({ kind: "nbd", device })
      const sector = deviceSector(request.sectorSize, request.mkfs === null ? await filesystemBlock(device) : null)
      if (sector !== request.sectorSize) {
        const layer = layers.pop()!
        saveRecord(request.root, record)
        await undoLayer(layer, request.close)
        device = await attachNbd(request, sector)
        built({ kind: "nbd", device })
      }
      through = "nbd"
    } else {
      const directory = fuseDirectory(request.root, request.name)
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      built({ kind: "fuse", directory, made: true })
      const file = await attachFuse(request, directory, "device")
      const block = request.mkfs === null ? await filesystemBlock(file) : null
      const sector = ["--sector-size", String(deviceSector(request.sectorSize, block))]
      device = await run("attach a loop device", "losetup", [
        "--find",
        "--show",
        ...sector,
        ...(request.readonly ? ["--read-only"] : []),
        file,
      ])
      built({ kind: "loop", device })
      // Past FUSE's page cache, where all would be cached twice in pieces of 128 KiB. Refused: slower, no more.
      await tryRun("losetup", ["--direct-io=on", device])
      through = "loop"
    }
    if (request.mkfs !== null) await makeFilesystem(request, device, request.mkfs)
    else if ((await signature(device)) === null) {
      throw new TresorError(
        "MOUNT_BLANK",
        Exit.wrongDevice,
        `Cannot mount ${request.path}: it holds no filesystem; add --mkfs ext4, xfs or btrfs the first time`,
      )
    }
    await run(`mount ${request.path} on ${request.directory}`, "mount", [
      ...(request.readonly ? ["-o", "ro"] : []),
      device,
      request.directory,
    ])
    built({ kind: "filesystem", directory: request.directory })
    return { through, device }
  } catch (error) {
    const { failures } = await unmount(request.root, record, request.close)
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
      await run(`unmount ${layer.directory}`, "umount", [layer.directory])
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

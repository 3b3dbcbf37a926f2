/** Filesystems on a block device: which one is there, making one, its mount options and its owner. */
import { Exit, TresorError } from "../base/errors.ts"
import { run, tryRun } from "../base/programs.ts"

/** Options of the mkfs of each: no questions, and over what is there, which was looked at before. */
const MKFS = {
  ext4: ["-q", "-F"],
  xfs: ["-q", "-f"],
  btrfs: ["-q", "-f"],
  // The device is used whole, without partitions.
  vfat: ["-I"],
  exfat: [],
} as const

export type Filesystem = keyof typeof MKFS
export const FILESYSTEMS = Object.keys(MKFS) as readonly Filesystem[]

/** User and group id. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** uid_t; the one above it means "as it is" to chown(2). */
const LARGEST_ID = 0xfffffffe

/** Who called: the user of sudo(8) where root runs for somebody. `user`: of this process. */
export function callerOf(env: NodeJS.ProcessEnv, user: Owner): Owner {
  const [uid, gid] = [env["SUDO_UID"] ?? "", env["SUDO_GID"] ?? ""]
  const valid = (id: string) => /^\d{1,10}$/.test(id) && Number(id) <= LARGEST_ID
  if (user.uid !== 0 || !valid(uid) || !valid(gid)) return user
  return { uid: Number(uid), gid: Number(gid) }
}

/** FAT stores no owners: its files belong to whom the mount names. */
const ownerless = (type: string | null): boolean => type === "vfat" || type === "exfat"

/** Options as mount(8) separates them: by commas, but for those within double quotes. */
export function splitOptions(text: string): string[] {
  return (text.match(/(?:[^,"]|"[^"]*"?)+/g) ?? []).filter((option) => option !== "")
}

export interface MountOptions {
  /** As blkid names it; `null`: not known. */
  readonly type: string | null
  /** As mount(8) takes them, "noatime,subvol=a". */
  readonly asked: string
  readonly readonly: boolean
  readonly owner: Owner
  /** umount(8) is to call umount.tresor. */
  readonly helper: boolean
}

/** For mount(8) -o; what was asked for comes last, so that it counts. */
export function mountOptions({ type, asked, readonly, owner, helper }: MountOptions): string {
  const given = splitOptions(asked)
  const names = (name: string) => given.some((option) => option.startsWith(`${name}=`))
  return [
    ...(readonly ? ["ro"] : []),
    ...(helper ? ["helper=tresor"] : []),
    ...(ownerless(type) && owner.uid !== 0 && !names("uid") ? [`uid=${owner.uid}`] : []),
    ...(ownerless(type) && owner.gid !== 0 && !names("gid") ? [`gid=${owner.gid}`] : []),
    ...given,
  ].join(",")
}

/** Whether the new filesystem's root directory can be given to its owner. */
export const hasOwner = (type: Filesystem): boolean => !ownerless(type)

async function probe(device: string, ...names: readonly string[]): Promise<string | null> {
  const asked = names.flatMap((name) => ["-s", name])
  const ran = await tryRun("blkid", ["-p", "-o", "value", ...asked, device])
  return ran.code === 0 && ran.stdout !== "" ? ran.stdout : null
}

/** Kinds blkid finds at the start of a device: "ext4", "LVM2_member"; null when it is blank. */
export async function signature(device: string): Promise<string | null> {
  const found = await probe(device, "TYPE", "PTTYPE")
  return found === null ? null : found.split("\n").join(", ")
}

/** "ext4"; `null`: blkid knows none there. */
export const filesystemOn = (device: string): Promise<string | null> => probe(device, "TYPE")

const SMALLEST_SECTOR = 512

/**
 * Bytes of a block of the filesystem on a file or device, as blkid tells; `null`: it does not. The kernel mounts none
 * on a device with longer sectors: one that was made with sectors of 512 and copied here needs a device with such.
 */
export async function filesystemBlock(device: string): Promise<number | null> {
  const size = Number(await probe(device, "BLOCK_SIZE"))
  return size >= SMALLEST_SECTOR ? size : null
}

/** Of the device to mount from. The volume takes parts of its sectors as well. */
export function deviceSector(sectorSize: number, block: number | null): number {
  return block !== null && block < sectorSize ? SMALLEST_SECTOR : sectorSize
}

export interface MakeFilesystem {
  readonly type: Filesystem
  /** Of the volume, for errors. */
  readonly path: string
  readonly device: string
  /** Over an existing signature. */
  readonly force: boolean
}

/** Throws MKFS_EXISTS (exit 5) unless `force`, TOOL_MISSING (exit 1), TOOL_FAILED (exit 4). */
export async function makeFilesystem({ type, path, device, force }: MakeFilesystem): Promise<void> {
  const found = await signature(device)
  if (found !== null && !force) {
    throw new TresorError(
      "MKFS_EXISTS",
      Exit.busy,
      `Cannot make ${type} on ${path}: it holds ${found} already; mount it without --mkfs, or use --force to overwrite it`,
    )
  }
  await run(`make ${type} on ${path}`, `mkfs.${type}`, [...MKFS[type], device])
}

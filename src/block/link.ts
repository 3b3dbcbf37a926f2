/**
 * /dev/tresor/NAME, a link to the volume's block device. Made here, so that it is there without udev; and named to
 * units/60-tresor.rules, so that udev knows it and systemd has a unit for it (fstab).
 */
import { lstatSync, mkdirSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"

const FOLDER = "/dev/tresor"
/** Read by the rule: a file by the device's name with the volume's. */
const NAMES = "/run/tresor/.block"
/** tresor.ko's node. */
const TAKEN = "control"

export const linkOf = (name: string): string => join(FOLDER, name)

/** Throws USAGE for the module's name, ATTACH_EPROTO when an old module has the folder's, BLOCK_EXISTS for what is no link. */
export function checkLink(name: string): void {
  if (name === TAKEN) {
    throw new TresorError(
      "USAGE",
      Exit.badArguments,
      `Cannot open as ${name} with --block: ${linkOf(name)} is tresor.ko's; choose another name`,
    )
  }
  const folder = statSync(FOLDER, { throwIfNoEntry: false })
  if (folder !== undefined && !folder.isDirectory()) {
    throw new TresorError(
      "ATTACH_EPROTO",
      Exit.wrongDevice,
      `Cannot open as ${name} with --block: ${FOLDER} is the node of an older tresor.ko; \`tresor kernel unload\`, \`install\` and \`load\` replace it`,
    )
  }
  const found = lstatSync(linkOf(name), { throwIfNoEntry: false })
  if (found !== undefined && !found.isSymbolicLink()) {
    throw new TresorError(
      "BLOCK_EXISTS",
      Exit.busy,
      `Cannot open as ${name} with --block: ${linkOf(name)} exists and is not a link; choose another name`,
    )
  }
}

/** Before the device appears. */
export function announce(name: string, device: string): void {
  try {
    mkdirSync(dirname(NAMES), { recursive: true, mode: 0o700 })
    mkdirSync(NAMES, { recursive: true, mode: 0o700 })
    writeFileSync(join(NAMES, basename(device)), `TRESOR_NAME=${name}\n`, { mode: 0o600 })
  } catch {
    // The link is made all the same; only udev does not know it.
  }
}

/** Before the device is another volume's, or somebody else's. */
export function renounce(device: string): void {
  rmSync(join(NAMES, basename(device)), { force: true })
}

/** Leads there from now on; what a tresord that was killed has left is replaced. */
export function makeLink(name: string, device: string): void {
  mkdirSync(FOLDER, { recursive: true, mode: 0o755 })
  const next = join(FOLDER, `.${name}.${process.pid}`)
  rmSync(next, { force: true })
  symlinkSync(device, next)
  renameSync(next, linkOf(name))
}

/** Unless it leads elsewhere by now, or is no link; udev removes its own. */
export function removeLink(name: string, device: string): void {
  renounce(device)
  const link = linkOf(name)
  try {
    if (readlinkSync(link) === device) rmSync(link)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Not there; not a link.
    if (code !== "ENOENT" && code !== "EINVAL") throw error
  }
}

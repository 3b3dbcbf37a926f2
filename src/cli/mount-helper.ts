/**
 * mount.tresor and umount.tresor, which mount(8) and umount(8) run for lines of fstab(5) of type tresor: their command
 * lines as ones of ours.
 */
import { Exit, TresorError } from "../base/errors.ts"
import { splitOptions } from "../mount/filesystem.ts"

/** mount(8), EXIT STATUS: incorrect invocation; mount failure. */
const INCORRECT = 1
const FAILED = 32

/** Of `tresor mount`, but no options of a mount: what makes filesystems is for a person to say. */
export const NOT_OURS: readonly string[] = ["--mkfs", "--force", "--options", "--fstype", "--help", "--verbose"]

export interface HelperWorld {
  /** Options of `tresor mount`, "--key-file": whether they take a value. */
  readonly flags: ReadonlyMap<string, boolean>
  /** A terminal can ask for the passphrase. */
  readonly terminal: boolean
  readonly root: boolean
}

const usage = (helper: string, fact: string): TresorError =>
  new TresorError(
    "USAGE",
    Exit.badArguments,
    `Cannot run ${helper}: ${fact}; it is for mount(8): mount -t tresor disk.img /mnt`,
  )

interface HelperCall {
  readonly operands: readonly string[]
  /** "o" to its value, "" for a switch. */
  readonly options: ReadonlyMap<string, string>
}

/** By mount(8), EXTERNAL HELPERS: SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE.SUBTYPE]. */
function parse(helper: string, words: readonly string[], switches: string): HelperCall {
  const operands: string[] = []
  const options = new Map<string, string>()
  const rest = [...words]
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (!word.startsWith("-") || word === "-") {
      operands.push(word)
      continue
    }
    for (let at = 1; at < word.length; at++) {
      const letter = word[at]!
      if (switches.includes(letter)) {
        options.set(letter, "")
        continue
      }
      if (!"oNt".includes(letter)) throw usage(helper, `unknown option -${letter}`)
      const value = word.slice(at + 1) || rest.shift()
      if (value === undefined) throw usage(helper, `option -${letter} needs a value`)
      const before = options.get(letter)
      options.set(letter, letter === "o" && before !== undefined ? `${before},${value}` : value)
      break
    }
  }
  if (options.has("N")) throw usage(helper, "another mount namespace cannot be used (-N)")
  return { operands, options }
}

/** An option of fstab(5) as words of `tresor mount`; `null`: it is the filesystem's. */
function ours(option: string, flags: HelperWorld["flags"]): readonly string[] | null {
  const at = option.indexOf("=")
  const flag = `--${at < 0 ? option : option.slice(0, at)}`
  const valued = flags.get(flag)
  if (valued === undefined || NOT_OURS.includes(flag)) return null
  if (valued !== at >= 0) {
    throw usage("mount.tresor", `option ${flag.slice(2)} ${valued ? "needs a value" : "takes no value"}`)
  }
  if (!valued) return [flag]
  const value = option.slice(at + 1)
  return [flag, /^".*"$/.test(value) ? value.slice(1, -1) : value]
}

function mount(words: readonly string[], { flags, terminal, root }: HelperWorld): readonly string[] | null {
  const { operands, options } = parse("mount.tresor", words, "sfnv")
  const [spec, directory, ...more] = operands
  if (spec === undefined || directory === undefined || more.length > 0) {
    throw usage("mount.tresor", "a volume and a mount point are required")
  }
  if (!root) {
    throw new TresorError(
      "MOUNT_NEEDS_ROOT",
      Exit.denied,
      `Cannot mount ${spec} on ${directory}: mounting a filesystem needs root, also with option user of fstab(5), since mount(8) gives up its rights for helpers; use sudo mount ${directory}`,
    )
  }
  const found: string[] = []
  const theirs: string[] = []
  for (const option of splitOptions(options.get("o") ?? "")) {
    const own = ours(option, flags)
    if (own === null) theirs.push(option)
    else found.push(...own)
  }
  const subtype = /^tresor\.(.+)$/.exec(options.get("t") ?? "")?.[1]
  // A dry run of mount(8).
  if (options.has("f")) return null
  return [
    "mount",
    ...(theirs.length > 0 ? ["-o", theirs.join(",")] : []),
    ...(subtype === undefined ? [] : ["--fstype", subtype]),
    ...found,
    ...(terminal || found.includes("--key-file") || found.includes("--password-agent") ? [] : ["--password-agent"]),
    "--",
    spec,
    directory,
  ]
}

function umount(words: readonly string[], { root }: HelperWorld): readonly string[] {
  const { operands, options } = parse("umount.tresor", words, "nlfvr")
  const [directory, ...more] = operands
  if (directory === undefined || more.length > 0) throw usage("umount.tresor", "one mount point is required")
  if (!root) {
    throw new TresorError(
      "MOUNT_NEEDS_ROOT",
      Exit.denied,
      `Cannot unmount ${directory}: root mounted it, also with option users of fstab(5), and closes its volume; use sudo umount ${directory}`,
    )
  }
  for (const letter of ["l", "f"]) {
    if (!options.has(letter)) continue
    throw new TresorError(
      "USAGE",
      Exit.badArguments,
      `Cannot unmount ${directory} with -${letter}: the volume below can be closed only when the filesystem has ended; leave the option out, or use umount --internal-only -${letter}`,
    )
  }
  return ["umount", "--", directory]
}

/** Words of ours for "mount.tresor" or "umount.tresor" and its own; `null`: nothing is to be done. Throws USAGE, MOUNT_NEEDS_ROOT. */
export function helperWords([helper, ...words]: readonly string[], world: HelperWorld): readonly string[] | null {
  return helper === "mount.tresor" ? mount(words, world) : umount(words, world)
}

/** As mount(8) expects it of a helper. */
export const helperStatus = (exitCode: number): number =>
  exitCode === 0 ? 0 : exitCode === Exit.badArguments ? INCORRECT : FAILED

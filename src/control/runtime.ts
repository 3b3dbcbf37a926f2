/**
 * The runtime directory: one subdirectory per volume, there while its tresord
 * lives. state.json says which process that is, so that the directory of a
 * killed one is recognised; it appears together with the directory, by one
 * rename, so no reader sees one without the other.
 */
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import * as v from "valibot"
import { Exit, TresorError } from "../base/errors.ts"
import { parseJson } from "../base/json.ts"
import { flock } from "../native/addon.ts"
import { checkRoot, openRoot, prepareRoot, readPrivate } from "./runtime-root.ts"

/** sockaddr_un.sun_path, less its NUL. */
export const SOCKET_PATH_LIMIT = 107

const stateSchema = v.object({
  version: v.literal(1),
  name: v.string(),
  pid: v.pipe(v.number(), v.integer(), v.minValue(1)),
  /** Field 22 of /proc/PID/stat: with the PID it names a process for one boot. */
  startTime: v.string(),
  bootId: v.string(),
  /** The volume's path, absolute. */
  path: v.string(),
  /** What the path led to: storeIdentity. */
  store: v.string(),
  /** The same of a detached header. */
  header: v.optional(v.string()),
  readonly: v.boolean(),
})

export type State = v.InferOutput<typeof stateSchema>

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:+@-]{0,126}$/

/** Letters, digits and `_ . : + @ -`; no leading dot or dash: one path component, one dm name. */
export const isName = (text: string): boolean => NAME.test(text)

/** Throws NAME_INVALID (exit 1). */
export function checkName(name: string): void {
  if (isName(name)) return
  throw new TresorError(
    "NAME_INVALID",
    Exit.badArguments,
    `Cannot use ${JSON.stringify(name.slice(0, 140))} as a name: a name consists of 1 to 127 letters, digits or _ . : + @ -, and begins with a letter, a digit or _`,
  )
}

export interface RuntimePaths {
  readonly directory: string
  readonly nbd: string
  readonly vhost: string
  readonly control: string
  readonly state: string
  readonly log: string
}

/** Throws for an invalid name, or one too long for a socket's path. */
export function runtimePaths(root: string, name: string): RuntimePaths {
  checkName(name)
  const directory = join(root, name)
  const control = join(directory, "control.sock")
  if (Buffer.byteLength(control) > SOCKET_PATH_LIMIT) {
    throw new TresorError(
      "NAME_TOO_LONG",
      Exit.badArguments,
      `Cannot use the name ${name}: its socket's path would be ${Buffer.byteLength(control)} bytes long; the limit is ${SOCKET_PATH_LIMIT}; choose a shorter name or TRESOR_RUNTIME_DIR`,
    )
  }
  return {
    directory,
    nbd: join(directory, "nbd.sock"),
    vhost: join(directory, "vhost.sock"),
    control,
    state: join(directory, "state.json"),
    log: join(directory, "log"),
  }
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
}

/** Start time of a process in clock ticks since boot; `null` when there is none. A zombie is none. */
export function processStart(pid: number): string | null {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  } catch {
    return null
  }
  // The command's name is in parentheses and may hold anything, parentheses too.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  if (fields[0] === "Z" || fields[0] === "X") return null
  return fields[19] ?? null
}

/**
 * `null`: no such volume. "damaged": a directory without a readable state of its owner.
 * Throws RUNTIME_NOT_PRIVATE. `owner`: see openRoot.
 */
export function readState(root: string, name: string, owner?: number): State | "damaged" | null {
  runtimePaths(root, name)
  const found = readPrivate(root, name, "state.json", owner)
  if (found === "missing") return null
  if (found === "damaged") return "damaged"
  try {
    const result = v.safeParse(stateSchema, parseJson(found.text))
    return result.success ? result.output : "damaged"
  } catch {
    return "damaged"
  }
}

export function isLive(state: State | "damaged" | null): state is State {
  return (
    state !== null && state !== "damaged" && state.bootId === bootId() && processStart(state.pid) === state.startTime
  )
}

/** A volume's directory, and whether its tresord lives. */
export interface Entry {
  readonly name: string
  readonly state: State | "damaged"
  readonly live: boolean
}

/**
 * Every volume that has a directory, the dead ones too; the first `most` by name. Throws RUNTIME_NOT_PRIVATE.
 * `owner`: see openRoot.
 */
export function entries(root: string, owner?: number, most = Number.POSITIVE_INFINITY): Entry[] {
  const fd = openRoot(root, owner)
  if (fd === null) return []
  let names: string[]
  try {
    names = readdirSync(`/proc/self/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
  return names
    .filter((name) => NAME.test(name))
    .sort()
    .slice(0, most)
    .flatMap((name) => {
      const state = readState(root, name, owner)
      // Closed between the look and the question.
      return state === null ? [] : [{ name, state, live: isLive(state) }]
    })
}

/** Names of the volumes whose tresord lives. */
export function liveNames(root: string): string[] {
  return entries(root)
    .filter(({ live }) => live)
    .map(({ name }) => name)
}

/** The same for two paths to one file or device; a URI is its own. */
export function storeIdentity(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return path
  return stat.isBlockDevice() ? `block ${stat.rdev}` : `file ${stat.dev} ${stat.ino}`
}

const thisProcess = () => ({ pid: process.pid, startTime: processStart(process.pid)!, bootId: bootId() })

function writeState(path: string, state: State): void {
  writeFileSync(path, `${JSON.stringify(state)}\n`, { mode: 0o600, flag: "wx" })
}

/** Runs `work` while no other process changes the runtime directory. */
function locked<T>(root: string, work: () => T): T {
  const fd = openSync(join(root, ".lock"), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  try {
    flock(fd, "exclusive")
    return work()
  } finally {
    closeSync(fd)
  }
}

/**
 * Makes `<root>/<name>/` for this process. Clears the directory of a dead
 * tresord; throws NAME_IN_USE or VOLUME_IN_USE (exit 5) for a live one. Two
 * readers may share a volume, a writer shares with nobody.
 */
export function claimName(
  root: string,
  name: string,
  path: string,
  readonly: boolean,
  header: string | null = null,
): RuntimePaths {
  const paths = runtimePaths(root, name)
  prepareRoot(root)
  locked(root, () => {
    const found = readState(root, name)
    if (isLive(found)) {
      throw new TresorError(
        "NAME_IN_USE",
        Exit.busy,
        `Cannot open as ${name}: the name is in use by ${found.path} (process ${found.pid}); close it or choose another name`,
      )
    }
    const store = storeIdentity(path)
    for (const each of liveNames(root)) {
      const other = readState(root, each)
      if (!isLive(other) || other.store !== store || (other.readonly && readonly)) continue
      throw new TresorError(
        "VOLUME_IN_USE",
        Exit.busy,
        `Cannot open ${path}: it is in use as ${other.name} (process ${other.pid}); close it first`,
      )
    }
    if (found !== null) rmSync(paths.directory, { recursive: true, force: true })
    const made = mkdtempSync(join(root, ".new-"))
    writeState(join(made, "state.json"), {
      version: 1,
      name,
      ...thisProcess(),
      path,
      store,
      ...(header === null ? {} : { header: storeIdentity(header) }),
      readonly,
    })
    renameSync(made, paths.directory)
  })
  return paths
}

/** The name of another process, which gives the volume to this one, or gets it back. Throws when there is none. */
export function takeName(root: string, name: string): void {
  const { directory, state } = runtimePaths(root, name)
  locked(root, () => {
    const found = readState(root, name)
    if (found === null || found === "damaged") throw new Error(`the runtime directory of ${name} is gone`)
    const made = join(directory, ".state.json")
    rmSync(made, { force: true })
    writeState(made, { ...found, ...thisProcess() })
    renameSync(made, state)
  })
}

/** Removes what claimName made, unless somebody else owns it by now. */
export function releaseName(root: string, name: string): void {
  const paths = runtimePaths(root, name)
  if (!checkRoot(root)) return
  locked(root, () => {
    const found = readState(root, name)
    if (found !== null && found !== "damaged" && found.pid !== process.pid) return
    rmSync(paths.directory, { recursive: true, force: true })
  })
}

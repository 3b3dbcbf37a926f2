/**
 * Signers whose word counts: enclave/SIGNERS lists the release keys, which lie on no machine that builds or runs Tresor.
 * Anybody else's signature says nothing of the next image: the key of a local build is thrown away, and whoever has
 * another can sign any image with it (docs/decisions/0066).
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { installationRoot } from "../base/installation.ts"

/** Who holds the key, by MRSIGNER. */
export type ReleaseSigners = ReadonlyMap<string, string>

export const SIGNERS = "enclave/SIGNERS"

/** Lines "<64 hex digits> <holder>"; # starts a comment. Throws TresorError IMAGE_BAD_SIGNERS naming the line. */
export function parseSigners(text: string): ReleaseSigners {
  const signers = new Map<string, string>()
  text.split("\n").forEach((line, index) => {
    const content = line.replace(/#.*/, "").trim()
    if (content === "") return
    const match = /^([0-9a-f]{64})\s+(\S.*)$/.exec(content)
    if (match === null) {
      throw new TresorError(
        "IMAGE_BAD_SIGNERS",
        Exit.wrongDevice,
        `Cannot read ${SIGNERS}: line ${index + 1} is not an MRSIGNER and the holder of its key`,
      )
    }
    signers.set(match[1]!, match[2]!)
  })
  return signers
}

/** Of this installation; without a list nobody's word counts. Throws TresorError IMAGE_BAD_SIGNERS. */
export function releaseSigners(): ReleaseSigners {
  const path = join(installationRoot, SIGNERS)
  return existsSync(path) ? parseSigners(readFileSync(path, "utf8")) : new Map()
}

/** For what goes on, with less trust, when the list is damaged. */
export function isReleaseSigner(mrsigner: string): boolean {
  try {
    return releaseSigners().has(mrsigner)
  } catch (error) {
    if (error instanceof TresorError) return false
    throw error
  }
}

/**
 * Before something is sealed for a signer, or trusted for its sake. Throws TresorError SEAL_UNSIGNED (exit 1): its next
 * image is either nobody's or anybody's.
 */
export function checkReleased(mrsigner: string, what: string, signers = releaseSigners()): void {
  if (signers.has(mrsigner)) return
  throw new TresorError(
    "SEAL_UNSIGNED",
    Exit.badArguments,
    `${what} mrsigner: no release key signed this enclave (${SIGNERS} lists them), so that its next version has another ` +
      "signer, or one that anybody may be; use mrenclave",
  )
}

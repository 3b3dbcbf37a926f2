/** Reads --collateral: a folder of PCS answers, or one JSON file with all of them. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { Exit, TresorError } from "../errors.ts"
import { type Collateral, parseBundle, parseFiles } from "./judge/collateral.ts"
import { Refusal } from "./judge/refusal.ts"

/** No single piece of Intel's is a tenth of that. */
const FILE_LIMIT = 1 << 20

/** What cannot be parsed is a Refusal, for the verdict; what cannot be read is a TresorError. */
export function readCollateral(path: string): Collateral | Refusal {
  try {
    if (!statSync(path).isDirectory()) return parseBundle(readFileSync(path, "utf8"))
    const files = new Map<string, Uint8Array>()
    for (const name of readdirSync(path)) {
      const stat = statSync(join(path, name))
      if (stat.isFile() && stat.size <= FILE_LIMIT) files.set(name, readFileSync(join(path, name)))
    }
    return parseFiles(files)
  } catch (error) {
    if (error instanceof Refusal) return error
    throw new TresorError("ATTEST_UNREADABLE", Exit.wrongDevice, `Cannot read ${path}: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/** Reads --collateral: a folder of PCS answers, or one JSON file with all of them. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { Exit, TresorError } from "../../base/errors.ts"
import { configDir } from "../config-file.ts"
import { type Collateral, parseBundle, parseFiles } from "../judge/collateral.ts"
import { Refusal } from "../judge/refusal.ts"

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

/** Where the collateral of remote SGX enclaves is kept: a folder, or one JSON file. `null`: nowhere. */
export function keptCollateralPath(): string | null {
  const paths = ["collateral", "collateral.json"].map((name) => join(configDir(), name))
  return paths.find((path) => existsSync(path)) ?? null
}

/** As readCollateral. */
export function keptCollateral(): Collateral | Refusal {
  const path = keptCollateralPath()
  if (path !== null) return readCollateral(path)
  return new Refusal(`there is no collateral; put what Intel's PCS or a PCCS returns into ${configDir()}/collateral`)
}

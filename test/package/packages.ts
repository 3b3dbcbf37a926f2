/** The packages of this checkout, built once for all test files. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../cli/harness.ts"

export interface Packages {
  readonly tresor: string
  readonly dkms: string
}

export function builtPackages(): Packages {
  const done = spawnSync(process.execPath, ["scripts/package.mjs"], { cwd: root, encoding: "utf8" })
  if (done.status !== 0) throw new Error(`npm run package: ${done.stdout}${done.stderr}`)
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string }
  return {
    tresor: join(root, `build/tresor_${version}_amd64.deb`),
    dkms: join(root, `build/tresor-dkms_${version}_all.deb`),
  }
}

/** A copy of the checkout's build, as it would be installed: it can be changed, and users who cannot read the checkout run it. */
import { cpSync, mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { PRODUCT, VECTORS } from "../../src/enclave/image/files.ts"
import { SIGNERS } from "../../src/enclave/release-signers.ts"
import { root } from "./harness.ts"

/** Its commands are `tresor` and `dist/tresor` in `folder`. */
export function copyInstallation(folder: string): void {
  const images = [...Object.values(PRODUCT), ...Object.values(VECTORS)]
  for (const file of [...images, SIGNERS, "addon/build/Release/tresor.node", "package.json", "tresor", "dist"]) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    cpSync(join(root, file), join(folder, file), { recursive: true })
  }
}

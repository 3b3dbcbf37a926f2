/** An installation beside the checkout's with another enclave: what it was before an upgrade. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { PRODUCT } from "../../src/enclave/image/files.ts"
import { anotherImage } from "../../src/testing/real-image.ts"
import { root, run } from "./harness.ts"
import { copyInstallation } from "./installation.ts"

/** Of the same program: only padding differs, and with it MRENCLAVE. */
export async function anotherVersion(folder: string): Promise<{ readonly tresor: string; readonly mrenclave: string }> {
  copyInstallation(folder)
  return { tresor: join(folder, "dist/tresor"), mrenclave: await changeImage(folder) }
}

/** Makes the image of the installation in `folder` another one; returns its MRENCLAVE. */
export async function changeImage(folder: string): Promise<string> {
  const path = join(folder, PRODUCT.image)
  writeFileSync(path, anotherImage(readFileSync(path)))
  const env = { TRESOR_STATE_DIR: join(folder, "state") }
  const signed = await run(process.execPath, [join(root, "dist/sign-build.mjs"), folder], { env })
  const mrenclave = /^MRENCLAVE ([0-9a-f]{64}) /.exec(signed.stdout)?.[1]
  if (signed.code !== 0 || mrenclave === undefined) throw new Error(`cannot sign: ${signed.stdout}${signed.stderr}`)
  return mrenclave
}

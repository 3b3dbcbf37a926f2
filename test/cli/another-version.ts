/** An installation beside the checkout's with another enclave: what it was before an upgrade. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { PRODUCT, VECTORS } from "../../src/enclave/image/files.ts"
import { root, run } from "./harness.ts"

/** UD2, which pads the text: no instruction of the image. */
const PADDING = Buffer.from([0x0f, 0x0b])

/** Of the same program; two bytes of the padding differ, and with them MRENCLAVE. */
export async function anotherVersion(folder: string): Promise<{ readonly tresor: string; readonly mrenclave: string }> {
  const files = [
    ...Object.values(PRODUCT),
    ...Object.values(VECTORS),
    "addon/build/Release/tresor.node",
    "package.json",
  ]
  for (const file of [...files, "dist"]) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    cpSync(join(root, file), join(folder, file), { recursive: true })
  }
  const path = join(folder, PRODUCT.image)
  const image = readFileSync(path)
  const padding = image.indexOf(Buffer.concat(Array.from({ length: 16 }, () => PADDING)))
  image.set([0x90, 0x90], padding + 8)
  writeFileSync(path, image)
  const signed = await run(process.execPath, [join(folder, "dist/sign-build.mjs"), folder])
  const mrenclave = /^MRENCLAVE ([0-9a-f]{64}) /.exec(signed.stdout)?.[1]
  if (signed.code !== 0 || mrenclave === undefined) throw new Error(`cannot sign: ${signed.stdout}${signed.stderr}`)
  return { tresor: join(folder, "dist/tresor"), mrenclave }
}

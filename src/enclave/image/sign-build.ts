/** The build's last step: `node dist/sign-build.mjs [ROOT]` measures and signs both images of a checkout. */
import { TresorError } from "../../base/errors.ts"
import { signBuild } from "./build.ts"
import { PRODUCT, VECTORS } from "./files.ts"

try {
  for (const files of [PRODUCT, VECTORS]) {
    const { mrenclave, signed } = signBuild(process.argv[2] ?? process.cwd(), files)
    process.stdout.write(`MRENCLAVE ${mrenclave} ${files.image}${signed ? ", signed" : ", signature up to date"}\n`)
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof TresorError ? error.exitCode : 1
}

/** The build's last step: `node dist/sign-build.mjs [ROOT]` measures and signs both images of a checkout. */
import { TresorError } from "../../base/errors.ts"
import { signBuild } from "./build.ts"
import { PRODUCT, VECTORS } from "./files.ts"
import { retireKeys } from "./former-keys.ts"
import { throwAwayKey } from "./keys.ts"

const root = process.argv[2] ?? process.cwd()
try {
  for (const path of retireKeys(root)) process.stdout.write(`removed ${path}; what it signed last is kept\n`)
  let key: ReturnType<typeof throwAwayKey> | undefined
  for (const files of [PRODUCT, VECTORS]) {
    const { mrenclave, signed } = signBuild(root, files, () => (key ??= throwAwayKey()))
    process.stdout.write(`MRENCLAVE ${mrenclave} ${files.image}${signed ? ", signed" : ", signature up to date"}\n`)
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof TresorError ? error.exitCode : 1
}

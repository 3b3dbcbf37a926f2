/** The build's last step: `node dist/sign-build.mjs [ROOT]` measures and signs the enclave of a checkout. */
import { TresorError } from "../../base/errors.ts"
import { signBuild } from "./build.ts"

try {
  const { mrenclave, signed } = signBuild(process.argv[2] ?? process.cwd())
  process.stdout.write(`MRENCLAVE ${mrenclave}${signed ? ", signed" : ", signature up to date"}\n`)
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof TresorError ? error.exitCode : 1
}

import { openEnclave } from "../../enclave/loader.ts"
import type { EnclaveOptions } from "../../enclave/types.ts"
import { Exit } from "../../errors.ts"
import { styles } from "../table.ts"

export async function selftest(options: {
  readonly json?: true
  readonly backend: EnclaveOptions["backend"]
}): Promise<void> {
  await using enclave = await openEnclave({ backend: options.backend })
  const tests = await enclave.selftest()
  const passed = tests.filter((each) => each.passed).length
  // A list with nothing on it has shown nothing.
  const ok = tests.length > 0 && passed === tests.length
  if (options.json === true) {
    const { backend, mrenclave, aes } = enclave.identity
    process.stdout.write(`${JSON.stringify({ ok, backend, mrenclave, aes, tests })}\n`)
  } else {
    const { green, red } = styles(process.stdout)
    for (const { name, passed } of tests) process.stdout.write(`${passed ? green("✔") : red("✘")} ${name}\n`)
    process.stdout.write(
      `${passed} passed, ${tests.length - passed} failed, in the enclave (backend ${enclave.identity.backend})\n`,
    )
  }
  if (!ok) process.exitCode = Exit.wrongDevice
}

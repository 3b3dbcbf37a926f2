import { Exit } from "../../base/errors.ts"
import { openVectors } from "../../enclave/loader.ts"
import type { EnclaveStart } from "../../enclave/types.ts"
import { out } from "../output/output.ts"
import { mark } from "../output/state.ts"

export async function selftest(options: {
  readonly json?: true
  readonly backend: EnclaveStart["backend"]
}): Promise<void> {
  await using enclave = await openVectors({ backend: options.backend })
  const tests = await enclave.selftest()
  const passed = tests.filter((each) => each.passed).length
  // A list with nothing on it has shown nothing.
  const ok = tests.length > 0 && passed === tests.length
  if (options.json === true) {
    const { backend, mrenclave, aes } = enclave.identity
    out.json({ ok, backend, mrenclave, aes, tests })
  } else {
    for (const { name, passed } of tests) out.line(`${mark(passed ? "good" : "bad")} ${name}`)
    out.line(`${passed} passed, ${tests.length - passed} failed, in the enclave (backend ${enclave.identity.backend})`)
  }
  if (!ok) process.exitCode = Exit.wrongDevice
}

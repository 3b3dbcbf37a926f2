/** `tresor doctor`: what this machine offers. */
import { examineMachine } from "../../library/doctor.ts"
import { out } from "../output/output.ts"
import { mark } from "../output/state.ts"
import { bold, dim } from "../output/style.ts"

const WORTH = { yes: "good", no: "bad", info: "fair" } as const

export async function doctor(options: { readonly json?: true }): Promise<void> {
  const checks = await examineMachine()
  if (options.json === true) {
    out.json({ checks }, 2)
  } else {
    for (const check of checks) {
      out.line(`${mark(WORTH[check.state])} ${bold(check.name)}: ${check.found}`)
      out.line(`    ${check.means}`)
      if (check.remedy !== null) out.line(dim(`    → ${check.remedy}`))
    }
  }
  // Only what makes every command fail is a failure; a missing SGX is a fact.
  if (checks.some((check) => check.state === "no" && (check.id === "enclave" || check.id === "aes")))
    process.exitCode = 4
}

/** Questions whose answer destroys something. */
import { createInterface } from "node:readline"
import { Exit, TresorError } from "../base/errors.ts"
import { err } from "./output/output.ts"
import { endSilence } from "./terminal.ts"

/** One line of standard input, echoed by the terminal; "" at its end. */
export async function ask(question: string): Promise<string> {
  endSilence()
  err.text(question)
  const lines = createInterface({ input: process.stdin })
  try {
    for await (const line of lines) return line
    return ""
  } finally {
    lines.close()
  }
}

/** cryptsetup's "Type 'yes' in capital letters". Throws NOT_CONFIRMED (exit 2). */
export async function confirm(what: string): Promise<void> {
  const answer = await ask(`WARNING!\n========\n${what}\n\nAre you sure? (Type 'yes' in capital letters): `)
  if (answer.trim() === "YES") return
  throw new TresorError(
    "NOT_CONFIRMED",
    Exit.denied,
    "Nothing was changed: not confirmed (use --batch-mode to skip the question)",
  )
}

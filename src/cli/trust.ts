/** Asks the user of this terminal whether an enclave may have a passphrase. */
import type { Surroundings } from "../attest/surroundings.ts"
import { ask } from "./confirm.ts"
import { err } from "./output/output.ts"

async function askOnTerminal(text: string, question: string): Promise<boolean> {
  err.text(text)
  for (;;) {
    const answer = (await ask(question)).trim().toLowerCase()
    if (answer === "yes") return true
    if (answer === "no" || answer === "") return false
    err.line("Please type yes or no.")
  }
}

export function atTerminal(): Pick<Surroundings, "ask" | "tell"> {
  return {
    ask: process.stdin.isTTY && process.stderr.isTTY ? askOnTerminal : null,
    tell: (line) => err.line(`tresor: ${line}`),
  }
}

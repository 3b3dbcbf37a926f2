import assert from "node:assert/strict"
import type { run } from "../cli/harness.ts"

/** What a command that must succeed has printed. */
export async function successOf(
  program: string,
  args: readonly string[],
  ran: ReturnType<typeof run>,
): Promise<string> {
  const { code, stdout, stderr } = await ran
  assert.equal(code, 0, `${program} ${args.join(" ")}: ${stderr}`)
  return stdout
}

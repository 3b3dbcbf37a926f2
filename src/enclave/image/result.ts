import { err, out } from "../../output/output.ts"

/** What a command has to say, and how it is said. */
export interface CommandResult {
  readonly exitCode: number
  /** For --json. */
  readonly json: Readonly<Record<string, unknown>>
  /** For people. */
  readonly lines: readonly string[]
}

/** Verdicts against are errors and go to stderr; --json always goes to stdout. */
export function emit(result: CommandResult, options: { readonly json?: boolean | undefined }): void {
  if (options.json) out.json(result.json)
  else for (const line of result.lines) (result.exitCode === 0 ? out : err).line(line)
  process.exitCode = result.exitCode
}

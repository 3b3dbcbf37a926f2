import { err, out } from "./output/output.ts"
import { shade, type Worth } from "./output/state.ts"

/** What a command prints, as text or JSON. */
export interface CommandResult {
  readonly exitCode: number
  /** For --json. */
  readonly json: Readonly<Record<string, unknown>>
  /** For people. */
  readonly lines: readonly string[]
  /** Of what was judged: the colour of the first line's first words, up to a colon. */
  readonly verdict?: Worth
}

/** Verdicts against are errors and go to stderr; --json always goes to stdout. */
export function emit(result: CommandResult, options: { readonly json?: boolean | undefined }): void {
  if (options.json) out.json(result.json)
  else {
    const { verdict } = result
    result.lines.forEach((line, index) => {
      const end = line.indexOf(":")
      const shown =
        verdict === undefined || index > 0 || end < 0 ? line : shade(verdict, line.slice(0, end)) + line.slice(end)
      ;(result.exitCode === 0 ? out : err).line(shown)
    })
  }
  process.exitCode = result.exitCode
}

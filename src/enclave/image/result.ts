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
  if (options.json) process.stdout.write(`${JSON.stringify(result.json)}\n`)
  else (result.exitCode === 0 ? process.stdout : process.stderr).write(result.lines.map((line) => `${line}\n`).join(""))
  process.exitCode = result.exitCode
}

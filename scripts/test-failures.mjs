/**
 * What a run of tests says of those that failed. It comes last: CI keeps only the end of a long output.
 */

const LINES = 40
const COLUMNS = 500

/** Without empty lines at the end, nor what a line has beyond COLUMNS: bytes and JSON come in one line. */
const linesOf = (text) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => (line.length <= COLUMNS ? line : `${line.slice(0, COLUMNS)}…`))

/** The first lines: an error begins with what it says. */
export function firstLines(text) {
  const lines = linesOf(text)
  if (lines.length <= LINES) return lines.join("\n")
  return [...lines.slice(0, LINES), `… ${lines.length - LINES} lines more`].join("\n")
}

/** The last lines: a program that fails ends with the reason. */
export function lastLines(text) {
  const lines = linesOf(text)
  if (lines.length <= LINES) return lines.join("\n")
  return [`${lines.length - LINES} lines before …`, ...lines.slice(-LINES)].join("\n")
}

/** Of { place, name, error }: each with its error, then, where there are several, their names alone. */
export function describeFailures(failures) {
  if (failures.length === 0) return ""
  const headings = failures.map(({ place, name }) => `✖ ${place === name ? name : `${place}: ${name}`}`)
  const described = failures.map(({ error }, index) => `${headings[index]}\n${error.replace(/^(?=.)/gm, "    ")}\n`)
  const names = failures.length > 1 ? ["All that failed:", ...headings] : []
  return `${["Failed:", ...described, ...names].join("\n")}\n`
}

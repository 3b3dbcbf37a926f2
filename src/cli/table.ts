/** Text in columns, for people. Cells hold text of others: nothing in one ends its line. */

import { visibleLine } from "../base/visible.ts"
import { outside } from "./output/style.ts"
import { pad, width, wrapLine } from "./output/wrap.ts"

/** A last column narrower than this is not worth wrapping into. */
const NARROW = 24
const GAP = "  "

const cell = (text: string | undefined): string => outside(text ?? "", visibleLine)

/**
 * Header and rows with two spaces between columns; no trailing blanks. In fewer
 * than the `columns` it takes, the last column is wrapped; where that is not
 * enough, each row is a list of facts.
 */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  columns = Number.POSITIVE_INFINITY,
): string {
  const all = [header, ...rows].map((row) => header.map((_, column) => cell(row[column])))
  const widths = header.map((_, column) => Math.max(...all.map((row) => width(row[column]!))))
  const whole = widths.reduce((sum, each) => sum + each, 0) + GAP.length * (header.length - 1)
  const before = whole - widths.at(-1)!
  if (whole > columns && columns - before < NARROW) {
    return rows
      .map((row) =>
        facts(
          header.map((name, column): readonly [string, string] => [name.trim(), (row[column] ?? "").trim()]),
          columns,
        ),
      )
      .join("\n")
  }
  return all
    .flatMap((row) => {
      const [last, ...more] = whole > columns ? wrapLine(row.at(-1)!, columns - before) : [row.at(-1)!]
      const first = row.slice(0, -1).map((text, column) => pad(text, widths[column]!))
      return [[...first, last].join(GAP), ...more.map((part) => " ".repeat(before) + part)]
    })
    .map((line) => `${line.trimEnd()}\n`)
    .join("")
}

/** "name:  value" lines, values aligned, and wrapped to what is left of `columns`. */
export function facts(entries: readonly (readonly [string, string])[], columns = Number.POSITIVE_INFINITY): string {
  const indent = Math.max(...entries.map(([name]) => width(name))) + 2
  // Beside long names on a narrow terminal nothing fits: below them it does.
  const beside = columns - indent >= NARROW
  return entries
    .map(([name, value]) => {
      const title = name === "" ? "" : `${cell(name)}:`
      const text = cell(value)
      if (!beside) {
        const lines = wrapLine(text, columns - GAP.length).map((line) => `${GAP}${line}\n`)
        return `${title === "" ? "" : `${title}\n`}${lines.join("")}`
      }
      const [first, ...more] = columns === Number.POSITIVE_INFINITY ? [text] : wrapLine(text, columns - indent)
      return [pad(title, indent) + first, ...more.map((line) => " ".repeat(indent) + line)]
        .map((line) => `${line.trimEnd()}\n`)
        .join("")
    })
    .join("")
}

/** Lines that fit a terminal. Marks of style.ts have no width. Pure. */
import stringWidth from "string-width"
import { plain } from "./style.ts"

/** Columns a text takes on a terminal. */
export function width(text: string): number {
  const bare = plain(text)
  return /^[\x20-\x7e]*$/.test(bare) ? bare.length : stringWidth(bare)
}

export function pad(text: string, columns: number): string {
  return text + " ".repeat(Math.max(0, columns - width(text)))
}

/**
 * One line as several of at most `columns`, broken at spaces. A word that is
 * longer (a path, a UUID) stays whole: it is there to be copied.
 */
export function wrapLine(line: string, columns: number): string[] {
  const lines: string[] = []
  let current = ""
  for (const word of line.split(" ")) {
    if (current !== "" && width(current) + 1 + width(word) > columns) {
      lines.push(current)
      current = word
    } else {
      current = current === "" && lines.length === 0 && word === "" ? "" : current === "" ? word : `${current} ${word}`
    }
  }
  return [...lines, current]
}

/** Lines that are longer than the terminal is wide, broken; what follows is indented as the line is. */
export function wrapText(text: string, columns: number): string {
  return text
    .split("\n")
    .flatMap((line) => {
      if (width(line) <= columns) return [line]
      const indent = /^[ \t]*/.exec(line)![0]
      const room = Math.max(20, columns - indent.replaceAll("\t", "        ").length)
      return wrapLine(line.slice(indent.length), room).map((part) => indent + part)
    })
    .join("\n")
}

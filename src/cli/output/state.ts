/** Good, in between, bad: the same colour and mark for them in every command. Pure. */
import { green, red, type Style, yellow } from "./style.ts"

export type Worth = "good" | "fair" | "bad"

const COLOURS: Readonly<Record<Worth, Style>> = { good: green, fair: yellow, bad: red }
const MARKS: Readonly<Record<Worth, string>> = { good: "✔", fair: "•", bad: "✖" }

export const shade = (worth: Worth, text: string): string => COLOURS[worth](text)
export const mark = (worth: Worth): string => shade(worth, MARKS[worth])

/**
 * The highest TCB evaluation data number seen for a kind of platform:
 * ~/.config/tresor/tcb-numbers, beside the known enclaves. Collateral stays
 * valid for a month after Intel knows better; who can choose it shows what was
 * issued before. Blank lines and # comments stay:
 *
 *   <fmspc> <pceid> <number>
 */
import { join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { changeList, configDir, isSystemError, readList } from "./config-file.ts"
import type { PlatformType, SeenNumber, Verdict } from "./judge/verify.ts"

interface Entry {
  /** From 1. */
  readonly line: number
  readonly fmspc: string
  readonly pceId: string
  readonly number: number
}

const LINE = /^([0-9a-f]{12})\s+([0-9a-f]{4})\s+(\d{1,10})$/

export const tcbNumbersPath = (): string => join(configDir(), "tcb-numbers")

/** Throws TresorError TCB_NUMBERS_BAD naming the line: half a list would let the other half be rolled back. */
function parseNumbers(text: string, path: string): Entry[] {
  return text.split("\n").flatMap((content, index) => {
    const entry = content.trim()
    if (entry === "" || entry.startsWith("#")) return []
    const match = LINE.exec(entry)
    if (match === null) {
      throw new TresorError(
        "TCB_NUMBERS_BAD",
        Exit.denied,
        `Cannot use ${path}: line ${index + 1} is damaged; correct or remove it`,
      )
    }
    const [, fmspc, pceId, number] = match
    return [{ line: index + 1, fmspc: fmspc!, pceId: pceId!, number: Number(number) }]
  })
}

const isOf =
  ({ fmspc, pceId }: PlatformType) =>
  (entry: Entry): boolean =>
    entry.fmspc === fmspc && entry.pceId === pceId

/** For the verifier: what is required of a platform. Throws TresorError TCB_NUMBERS_BAD and the system's errors. */
export function seenNumbers(path = tcbNumbersPath()): (platform: PlatformType) => SeenNumber | null {
  const entries = parseNumbers(readList(path), path)
  return (platform) => {
    const [highest] = entries.filter(isOf(platform)).sort((a, b) => b.number - a.number)
    return highest === undefined ? null : { number: highest.number, where: `${path}:${highest.line}` }
  }
}

function withNumber(text: string, platform: PlatformType, number: number, path: string): string {
  const same = parseNumbers(text, path).filter(isOf(platform))
  if (same.some((entry) => entry.number >= number)) return text
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n")
  const line = `${platform.fmspc} ${platform.pceId} ${number}`
  const [first] = same
  if (first === undefined) lines.push(line)
  else lines[first.line - 1] = line
  return `${lines.join("\n")}\n`
}

/**
 * Remembers what a verdict found Intel to have signed, whatever became of the
 * quote: a newer number that condemns a platform must stay known. `null`, or
 * why it cannot be kept: a home that cannot be written to does not stop anything.
 */
export function rememberNumber({ platform, tcbEvaluationDataNumber }: Verdict, path = tcbNumbersPath()): string | null {
  if (platform === null || tcbEvaluationDataNumber === null) return null
  try {
    changeList(path, (text) => withNumber(text, platform, tcbEvaluationDataNumber, path))
    return null
  } catch (error) {
    if (!isSystemError(error)) throw error
    return `Cannot remember TCB evaluation data number ${tcbEvaluationDataNumber} in ${path}: ${error.message}; older collateral will not be detected`
  }
}

/**
 * Runs the scripts of test/cli/scripts: what a person types, what Tresor
 * answers. A script is read line by line, and all of it before its first
 * command runs:
 *
 *   # text                    for the reader
 *   set NAME word ...         $NAME is these words from here on
 *   write FILE 'text'         a file with that text
 *   write FILE SIZE           a file of SIZE bytes of zeros; K and M are 2^10 and 2^20
 *   machine NAME              from here on, on another machine: one with a machine secret of its own
 *   ttyin                     the next command runs on a terminal; indented lines below say
 *     PROMPT > text             what is typed when PROMPT has appeared
 *   stdin 'text'              the next command reads that
 *   PROGRAM word ...          a command: tresor, or one of PROGRAMS; it must exit with 0
 *   ! PROGRAM word ...        it must not
 *   !N PROGRAM word ...       it must exit with N
 *   stdout 'regex'            the last command printed that; ^ and $ are ends of lines; `!` before it: did not
 *   stderr 'regex'
 *   error 'regex'             all it printed is one line, "tresor: error: ...", which has that; `!` is not for it
 *   screen 'regex'            the terminal showed that
 *   capture A B ... FROM 'regex with as many groups'    $A, $B, ... are what the groups matched in FROM: stdout or screen
 *   exists FILE               `!` before it: there is none
 *
 * Words are separated by blanks; in '...' nothing is special but \n and
 * $NAME. In a regex $NAME stands for its own text; a $ before no capital letter is a regex's.
 * Each script has a folder of its own, where its commands run.
 */
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { basename, join, relative } from "node:path"
import { type Place, type Result, root, run } from "./harness.ts"

const PROGRAMS: readonly string[] = ["cryptsetup", "nbdcopy", "nbdinfo", "cmp", "cp", "rm"]

/** What a word was quoted with decides whether a variable in it may become several words. */
interface Word {
  readonly text: string
  readonly quoted: boolean
}

interface Statement {
  readonly line: number
  readonly source: string
  /** `null`: no `!`; "any" code but 0, or that one. */
  readonly failing: null | "any" | number
  readonly verb: string
  readonly words: readonly Word[]
  readonly typed: readonly (readonly [string, string])[]
}

export class ScriptError extends Error {}

const ARGUMENTS: Readonly<Record<string, readonly [number, number]>> = {
  set: [1, 99],
  write: [2, 2],
  machine: [1, 1],
  ttyin: [0, 0],
  stdin: [1, 1],
  stdout: [1, 1],
  stderr: [1, 1],
  error: [1, 1],
  screen: [1, 1],
  capture: [3, 99],
  exists: [1, 1],
}
const NEGATED: readonly string[] = ["stdout", "stderr", "screen", "exists"]

function wordsOf(text: string): Word[] {
  const words: Word[] = []
  let rest = text.trim()
  while (rest !== "") {
    const match = /^(?:'([^']*)'|([^\s']+))(?:\s+|$)/.exec(rest)
    if (match === null) throw new ScriptError(`cannot be read from: ${rest}`)
    words.push({ text: match[1] ?? match[2]!, quoted: match[1] !== undefined })
    rest = rest.slice(match[0].length)
  }
  return words
}

const isCommand = (verb: string) => verb === "tresor" || PROGRAMS.includes(verb)

function statement(source: string, line: number): Statement {
  const match = /^(?:!(\d*)\s+)?(\S+)(.*)$/.exec(source)
  if (match === null) throw new ScriptError("is no statement")
  const [, code, verb, rest] = match as unknown as [string, string | undefined, string, string]
  const words = wordsOf(rest)
  const failing = code === undefined ? null : code === "" ? "any" : Number(code)
  if (failing === 0) throw new ScriptError("that is no failure")
  if (!isCommand(verb)) {
    const limits = Object.hasOwn(ARGUMENTS, verb) ? ARGUMENTS[verb]! : null
    if (limits === null) throw new ScriptError(`${verb} is no statement and no program`)
    if (words.length < limits[0] || words.length > limits[1]) throw new ScriptError(`${verb} has ${words.length} words`)
    if (failing !== null && (failing !== "any" || !NEGATED.includes(verb))) throw new ScriptError(`${verb} with !`)
  }
  return { line, source, failing, verb, words, typed: [] }
}

/** Throws ScriptError, which names the line. */
export function parse(text: string): Statement[] {
  const statements: Statement[] = []
  for (const [index, source] of text.split("\n").entries()) {
    const line = index + 1
    try {
      if (source.trim() === "" || source.startsWith("#")) continue
      if (/^\s/.test(source)) {
        const last = statements.at(-1)
        const typed = /^\s+(.+?) > (.*)$/.exec(source)
        if (last?.verb !== "ttyin" || typed === null) throw new ScriptError("is indented, and not typed at a prompt")
        statements[statements.length - 1] = { ...last, typed: [...last.typed, [typed[1]!, typed[2]!]] }
        continue
      }
      statements.push(statement(source, line))
    } catch (error) {
      throw new ScriptError(`${line}: ${(error as Error).message}`)
    }
  }
  for (const [index, { line, verb }] of statements.entries()) {
    const next = statements[index + 1]
    if ((verb === "ttyin" || verb === "stdin") && (next === undefined || !isCommand(next.verb)))
      throw new ScriptError(`${line}: ${verb} is for the command that follows, and none does`)
  }
  if (!statements.some(({ verb }) => isCommand(verb))) throw new ScriptError("1: there is no command in it")
  return statements
}

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")

type Stream = "stdout" | "stderr" | "screen"

class Running {
  readonly #place: Place
  readonly #folder: string
  readonly #variables = new Map<string, readonly string[]>()
  #state: NodeJS.ProcessEnv = {}
  #typed: readonly (readonly [string, string])[] | null = null
  #input: string | null = null
  #last: { readonly result: Result; readonly terminal: boolean } | null = null

  constructor(place: Place, folder: string) {
    this.#place = place
    this.#folder = folder
    mkdirSync(folder)
  }

  #expand(text: string, change = (value: string) => value): string {
    return text.replace(/\$([A-Z][A-Z0-9]*)/g, (_, name) => {
      const value = this.#variables.get(name)
      if (value === undefined) throw new ScriptError(`$${name} is not set`)
      return change(value.join(" "))
    })
  }

  /** A word of its own that is a variable becomes the variable's words. */
  #args(words: readonly Word[]): string[] {
    return words.flatMap(({ text, quoted }) => {
      const whole = quoted ? null : /^\$([A-Z][A-Z0-9]*)$/.exec(text)
      const value = whole === null ? undefined : this.#variables.get(whole[1]!)
      return value === undefined ? [this.#text({ text, quoted })] : [...value]
    })
  }

  #text({ text, quoted }: Word): string {
    const value = this.#expand(text)
    return quoted ? value.replaceAll("\\n", "\n") : value
  }

  #regex({ text }: Word): RegExp {
    return new RegExp(this.#expand(text, escaped), "m")
  }

  #shown(stream: Stream): string {
    if (this.#last === null) throw new ScriptError("no command has run")
    const { result, terminal } = this.#last
    if (terminal !== (stream === "screen"))
      throw new ScriptError(`the command ran ${terminal ? "on a terminal: use screen" : "on no terminal"}`)
    return (stream === "stderr" ? result.stderr : result.stdout).replaceAll("\r", "")
  }

  async #command({ verb, words, failing }: Statement): Promise<void> {
    const args = this.#args(words)
    const [typed, input] = [this.#typed, this.#input]
    this.#typed = null
    this.#input = null
    const options = { cwd: this.#folder, env: this.#state, ...(input === null ? {} : { input }) }
    if (typed !== null && (verb !== "tresor" || input !== null)) throw new ScriptError("ttyin is for one tresor alone")
    const result =
      typed !== null
        ? await this.#place.typed(
            args,
            typed.map(([prompt, text]) => [prompt, `${text}\r`]),
            this.#state,
            this.#folder,
          )
        : verb === "tresor"
          ? await this.#place.tresor(args, options)
          : await run(verb, args, options)
    this.#last = { result, terminal: typed !== null }
    const fits = failing === null ? result.code === 0 : failing === "any" ? result.code !== 0 : result.code === failing
    if (!fits) {
      const wanted = failing === null ? "0" : failing === "any" ? "another code than 0" : String(failing)
      throw new ScriptError(`exit code ${result.code}, not ${wanted}`)
    }
    let rest = result.stdout
    for (const [prompt] of typed ?? []) {
      const at = rest.indexOf(prompt)
      if (at < 0) throw new ScriptError(`nothing asked: ${prompt}`)
      rest = rest.slice(at + prompt.length)
    }
  }

  async step(step: Statement): Promise<void> {
    const { verb, words, failing } = step
    switch (verb) {
      case "set":
        this.#variables.set(words[0]!.text, this.#args(words.slice(1)))
        return
      case "write": {
        const path = join(this.#folder, this.#text(words[0]!))
        const size = words[1]!.quoted ? null : /^(\d+)([KM]?)$/.exec(words[1]!.text)
        writeFileSync(path, words[1]!.quoted ? this.#text(words[1]!) : "")
        if (size !== null)
          truncateSync(path, Number(size[1]) * { "": 1, K: 1024, M: 1 << 20 }[size[2] as "" | "K" | "M"])
        else if (!words[1]!.quoted) throw new ScriptError(`${words[1]!.text} is neither a size nor a text`)
        return
      }
      case "machine":
        this.#state = { TRESOR_STATE_DIR: this.#place.path(`state-of-${words[0]!.text}`) }
        return
      case "ttyin":
        this.#typed = step.typed.map(([prompt, text]) => [this.#expand(prompt), this.#expand(text)])
        return
      case "stdin":
        this.#input = this.#text(words[0]!)
        return
      case "stdout":
      case "stderr":
      case "screen":
        if (this.#regex(words[0]!).test(this.#shown(verb)) === (failing !== null))
          throw new ScriptError(failing === null ? "it did not say so" : "it did say so")
        return
      case "error": {
        const line = /^tresor: error: [^\n]+\n$/.exec(this.#shown("stderr"))
        if (line === null || this.#shown("stdout") !== "") throw new ScriptError("it is not all it said")
        if (!this.#regex(words[0]!).test(line[0])) throw new ScriptError("it did not say so")
        return
      }
      case "capture": {
        const names = words.slice(0, -2).map(({ text }) => text)
        const match = this.#regex(words.at(-1)!).exec(this.#shown(words.at(-2)!.text as Stream))
        if (match === null) throw new ScriptError("it did not say so")
        if (match.length !== names.length + 1) throw new ScriptError(`${match.length - 1} groups, not ${names.length}`)
        for (const [index, name] of names.entries()) this.#variables.set(name, [match[index + 1]!])
        return
      }
      case "exists":
        if (existsSync(join(this.#folder, this.#text(words[0]!))) === (failing !== null))
          throw new ScriptError(failing === null ? "there is none" : "there is one")
        return
      default:
        await this.#command(step)
    }
  }

  /** What the last command said, for a person who looks into a failure. */
  said(): string {
    if (this.#last === null) return ""
    const { code, stdout, stderr } = this.#last.result
    return `\nThe last command ended with ${code}.\nIt printed:\n${stdout}\n${stderr === "" ? "" : `on standard error:\n${stderr}\n`}`
  }
}

/** Throws ScriptError "SCRIPT:LINE: statement: what is wrong". */
export async function runText(place: Place, name: string, text: string): Promise<void> {
  let statements: Statement[]
  try {
    statements = parse(text)
  } catch (error) {
    throw new ScriptError(`${name}:${(error as Error).message}`)
  }
  const running = new Running(place, place.path(basename(name, ".txt")))
  for (const step of statements) {
    try {
      await running.step(step)
    } catch (error) {
      throw new ScriptError(`${name}:${step.line}: ${step.source}: ${(error as Error).message}${running.said()}`)
    }
  }
}

export const runScript = (place: Place, path: string): Promise<void> =>
  runText(place, relative(root, path), readFileSync(path, "utf8"))

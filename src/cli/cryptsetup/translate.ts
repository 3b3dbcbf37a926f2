/**
 * A command line of cryptsetup's as one of ours: the verb, options before and after it, in cryptsetup's order of
 * arguments. Options of our own may stand among them. Commands of ours take cryptsetup's options too, where they have
 * no option of that name. Pure.
 */
import { Exit, TresorError } from "../../base/errors.ts"
import type { Fate } from "./fate.ts"
import { OPTIONS } from "./options.ts"
import { ALIASES, type MappedVerb, VERBS } from "./verbs.ts"

/** Options of a command of ours, "--key-file" and "-d": whether they take a value. `null`: there is no such command. */
export type FlagsOf = (command: string) => ReadonlyMap<string, boolean> | null

/** cryptsetup takes them at every verb. */
const EVERYWHERE: readonly string[] = ["batch-mode", "verbose", "debug", "debug-json"]

const SHORT = new Map(
  Object.entries(OPTIONS).flatMap(([name, { short }]) => (short === undefined ? [] : [[short, name]])),
)
/** Command of ours to the verb that it is. */
const OURS = new Map(
  Object.entries(VERBS)
    .flatMap(([verb, found]) => ("to" in found ? [[found.to, verb] as const] : []))
    // Of two verbs with one command, the first.
    .toReversed(),
)
/** Commands of ours of two words: what the first may be. */
const GROUPS = new Set([...OURS.keys()].filter((to) => to.includes(" ")).map((to) => to.split(" ")[0]!))

const refusal = (message: string): TresorError => new TresorError("CRYPTSETUP_ONLY", Exit.badArguments, message)
const usage = (message: string): TresorError => new TresorError("USAGE", Exit.badArguments, message)

/** cryptsetup's name of an option as it is spelled, "--key-file" or "-d". */
function nameOf(flag: string): string | null {
  const name = flag.startsWith("--") ? flag.slice(2) : SHORT.get(flag.slice(1))
  return name !== undefined && Object.hasOwn(OPTIONS, name) ? name : null
}

interface Given {
  readonly flag: string
  readonly value: string | null
}

/** One word that begins with "-", taken apart; `rest` gives the words behind it. `null`: not known to anybody. */
function takeApart(word: string, takesValue: (flag: string) => boolean | null, rest: () => string | undefined) {
  const valueFor = (flag: string, inline: string | null): string => {
    const value = inline ?? rest()
    if (value === undefined) throw usage(`option ${flag} needs a value`)
    return value
  }
  if (word.startsWith("--")) {
    const at = word.indexOf("=")
    const flag = at < 0 ? word : word.slice(0, at)
    const inline = at < 0 ? null : word.slice(at + 1)
    const valued = takesValue(flag)
    if (valued === null || (!valued && inline !== null)) return null
    return [{ flag, value: valued ? valueFor(flag, inline) : null }]
  }
  const found: Given[] = []
  for (let at = 1; at < word.length; at++) {
    const flag = `-${word[at]}`
    const valued = takesValue(flag)
    if (valued === null) return null
    const value = valued ? valueFor(flag, word.slice(at + 1) || null) : null
    found.push({ flag, value })
    if (valued) break
  }
  return found
}

/** The verb, once its words are known; `undefined` while another one is needed, `null` for none. */
function verbOf(operands: readonly string[]): string | null | undefined {
  const [first, second] = operands
  if (first === undefined) return undefined
  if (GROUPS.has(first)) {
    if (second === undefined) return undefined
    return OURS.get(`${first} ${second}`) ?? null
  }
  if (Object.hasOwn(ALIASES, first)) return ALIASES[first]!
  if (Object.hasOwn(VERBS, first)) return first
  return OURS.get(first) ?? null
}

class Translation {
  readonly #verb: MappedVerb
  readonly #flags: ReadonlyMap<string, boolean>
  /** A command of ours was named: its options come first. */
  readonly #native: boolean
  readonly #options: string[]
  readonly #added: string[] = []
  /** Something of cryptsetup's was in it. */
  changed: boolean

  constructor(verb: MappedVerb, flags: ReadonlyMap<string, boolean>, native: boolean) {
    this.#verb = verb
    this.#flags = flags
    this.#native = native
    this.#options = native ? [] : [...(verb.preset ?? [])]
    this.changed = !native
  }

  /** Whose option a flag is at this verb. */
  owner(flag: string): "ours" | "cryptsetup" | null {
    const ours = this.#flags.has(flag)
    const name = nameOf(flag)
    if (this.#native && ours) return "ours"
    if (name !== null && (this.#verb.takes.includes(name) || EVERYWHERE.includes(name))) return "cryptsetup"
    return ours ? "ours" : name === null ? null : "cryptsetup"
  }

  takesValue(flag: string): boolean | null {
    const owner = this.owner(flag)
    if (owner === null) return null
    return owner === "ours" ? this.#flags.get(flag)! : OPTIONS[nameOf(flag)!]!.value !== undefined
  }

  /** `others`: cryptsetup's names of all that was given. */
  option({ flag, value }: Given, others: ReadonlySet<string>): void {
    if (this.owner(flag) === "ours") {
      if (value === null) this.#options.push(flag)
      else this.#options.push(...(flag.startsWith("--") ? [`${flag}=${value}`] : [flag, value]))
      return
    }
    this.changed = true
    const name = nameOf(flag)!
    const fate: Fate = this.#verb.except?.[name] ?? OPTIONS[name]!.fate
    if ("refused" in fate) {
      if ("values" in fate && fate.values.includes(value!)) return
      throw refusal(`Cannot use ${flag}${value === null ? "" : ` ${value}`} as cryptsetup does: ${fate.refused}`)
    }
    if ("operand" in fate) this.#added.push(value!)
    if ("as" in fate) {
      const { beside } = fate
      const ours = `--${beside !== undefined && others.has(beside.option) ? beside.as : fate.as}`
      // Where cryptsetup has no use for it, neither have we.
      if (this.#flags.has(ours)) this.#options.push(value === null ? ours : `${ours}=${value}`)
    }
  }

  /** Our words, with cryptsetup's `operands` in their places. */
  words(operands: readonly string[], shown: string): readonly string[] {
    const own: string[] = []
    if (this.#native) own.push(...operands)
    else {
      for (const [index, place] of this.#verb.operands.entries()) {
        const value = operands[index]
        const option = place.replace(/\?$/, "")
        if (!option.startsWith("--")) {
          if (value !== undefined) own.push(value)
        } else if (value !== undefined) {
          // cryptsetup: the option takes precedence.
          if (!this.#options.some((word) => word.startsWith(`${option}=`))) this.#options.push(`${option}=${value}`)
        } else if (!place.endsWith("?")) {
          throw usage(`${shown} needs ${this.#verb.operands.length} arguments, ${operands.length} given`)
        }
      }
      own.push(...operands.slice(this.#verb.operands.length))
    }
    const all = [...own, ...this.#added]
    return [
      ...this.#verb.to.split(" "),
      ...this.#options,
      ...(all.some((each) => /^-./.test(each)) ? ["--"] : []),
      ...all,
    ]
  }
}

/** `words` as they are when they are none of cryptsetup's. Throws CRYPTSETUP_ONLY or USAGE (exit 1). */
export function translate(words: readonly string[], flagsOf: FlagsOf): readonly string[] {
  const operands: string[] = []
  const before: Given[] = []
  let translation: Translation | null = null
  let verbWords = 0
  const given: Given[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!
    if (translation !== null && word === "--") {
      operands.push(...words.slice(at + 1))
      break
    }
    if (/^-./.test(word)) {
      const known: Translation | null = translation
      const takesValue = (flag: string): boolean | null => {
        if (known !== null) return known.takesValue(flag)
        const name = nameOf(flag)
        return name === null ? null : OPTIONS[name]!.value !== undefined
      }
      const parts = takeApart(word, takesValue, () => words[++at])
      // What nobody knows is commander's to complain of.
      if (parts === null) return words
      ;(translation === null ? before : given).push(...parts)
      continue
    }
    operands.push(word)
    if (translation !== null) continue
    const verb = verbOf(operands)
    if (verb === null) return words
    if (verb === undefined) continue
    const found = VERBS[verb]!
    const shown = operands.join(" ")
    if ("refused" in found) throw refusal(`Cannot ${shown}: ${found.refused}`)
    const flags = flagsOf(found.to)
    if (flags === null) return words
    verbWords = operands.length
    translation = new Translation(found, flags, shown === found.to)
  }
  if (translation === null) return words
  const all = [...before, ...given]
  const names = new Set(all.flatMap(({ flag }) => nameOf(flag) ?? []))
  for (const each of all) translation.option(each, names)
  if (!translation.changed && before.length === 0) return words
  return translation.words(operands.slice(verbWords), operands.slice(0, verbWords).join(" "))
}

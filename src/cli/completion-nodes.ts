/** What completion scripts know: the command tree, and cryptsetup's verbs as commands beside it. */
import type { Command, Option } from "commander"
import type { Fate } from "./cryptsetup/fate.ts"
import { OPTIONS } from "./cryptsetup/options.ts"
import { ALIASES, type MappedVerb, VERBS } from "./cryptsetup/verbs.ts"

/** What a value or an operand is completed with. */
type Kind = "file" | "folder" | "name" | "none" | readonly string[]

export interface Value {
  readonly title: string
  readonly kind: Kind
}

interface Flag {
  /** "-d", "--key-file" */
  readonly spellings: readonly string[]
  readonly text: string
  /** null: a switch. */
  readonly value: Value | null
}

export interface Node {
  /** "key add"; "" for the root. */
  readonly path: string
  readonly words: readonly (readonly [string, string])[]
  readonly flags: readonly Flag[]
  /** In order. */
  readonly operands: readonly Value[]
}

/** By the word between the brackets, which is all that help shows too. */
const KINDS: Readonly<Record<string, Kind>> = {
  file: "file",
  path: "file",
  dir: "folder",
  folder: "folder",
  name: "name",
}

function value(title: string, choices: readonly string[] | undefined): Value {
  return { title, kind: choices ?? KINDS[title] ?? "none" }
}

function flagOf(option: Option): Flag {
  const placeholder = /<([^>]+)>/.exec(option.flags)?.[1] ?? ""
  // The name of a volume to be opened is not one of the open volumes.
  const kind = placeholder === "name" ? { title: "name", kind: "none" as const } : value(placeholder, option.argChoices)
  return {
    spellings: [option.short, option.long].filter((flag) => flag !== undefined && flag !== null),
    text: option.description,
    value: option.required ? kind : null,
  }
}

function nodes(command: Command, path = ""): Node[] {
  const help = command.createHelp()
  const children = help.visibleCommands(command)
  const opens = path === "open"
  const own: Node = {
    path,
    words: children.map((child) => [child.name(), child.description()]),
    flags: help.visibleOptions(command).map(flagOf),
    operands: command.registeredArguments.map((argument) => {
      const found = value(argument.name(), argument.argChoices)
      return opens && found.kind === "name" ? { ...found, kind: "none" } : found
    }),
  }
  return [
    own,
    ...children
      .filter((child) => child.name() !== "help")
      .flatMap((child) => nodes(child, `${path} ${child.name()}`.trim())),
  ]
}

function found(program: Command, path: string): Command {
  let command = program
  for (const name of path.split(" ")) command = command.commands.find((each) => each.name() === name)!
  return command
}

/** "-d" and "--key-file". */
function spellingsOf(name: string): string[] {
  const { short } = OPTIONS[name]!
  return [...(short === undefined ? [] : [`-${short}`]), `--${name}`]
}

/** An option of cryptsetup's as it is offered; `null`: it has no effect here, or is refused. */
function cryptsetupFlag(name: string, fate: Fate, ours: Command): Flag | null {
  const { value: title } = OPTIONS[name]!
  const spellings = spellingsOf(name)
  if ("values" in fate) return { spellings, text: fate.kept, value: { title: name, kind: fate.values } }
  if ("operand" in fate)
    return { spellings, text: "", value: { title: name, kind: title === "FILE" ? "file" : "none" } }
  if (!("as" in fate)) return null
  const option = ours.options.find(({ long }) => long === `--${fate.as}`)
  if (option === undefined) return null
  const own = flagOf(option)
  return { spellings, text: own.text, value: title === undefined ? null : own.value }
}

function verbNode(verb: string, mapped: MappedVerb, program: Command): Node {
  const ours = found(program, mapped.to)
  const names = [...mapped.takes, "batch-mode"]
  const theirs = names.flatMap((name) => {
    const flag = cryptsetupFlag(name, mapped.except?.[name] ?? OPTIONS[name]!.fate, ours)
    return flag === null ? [] : [flag]
  })
  // What is cryptsetup's at this verb is not ours, also where it is refused.
  const taken = new Set(names.flatMap(spellingsOf))
  const preset = new Set(mapped.preset)
  const own = ours
    .createHelp()
    .visibleOptions(ours)
    .map(flagOf)
    .map((flag) => ({ ...flag, spellings: flag.spellings.filter((each) => !taken.has(each) && !preset.has(each)) }))
    .filter(({ spellings }) => spellings.some((each) => each.startsWith("--")))
  const operands = mapped.operands.map((place): Value => {
    const name = place.replace(/\?$/, "")
    // As in `nodes`: a volume to be opened has no name yet.
    if (mapped.to === "open" && name === "name") return { title: name, kind: "none" }
    if (!name.startsWith("--")) return value(name, undefined)
    return flagOf(ours.options.find(({ long }) => long === name)!).value!
  })
  return { path: verb, words: [], flags: [...theirs, ...own], operands }
}

/** Verbs that are no commands of ours; of their older names those for LUKS. */
function verbNodes(program: Command): readonly (readonly [Node, string])[] {
  const older = Object.entries(ALIASES).filter(([alias]) => alias.startsWith("luks"))
  const named = [...Object.keys(VERBS).map((verb) => [verb, verb] as const), ...older]
  const commands = new Set(program.commands.map((command) => command.name()))
  return named.flatMap(([name, verb]) => {
    const mapped = VERBS[verb]!
    if ("refused" in mapped || commands.has(name.split(" ")[0]!)) return []
    return [[verbNode(name, mapped, program), `cryptsetup's word for ${mapped.to}`] as const]
  })
}

/** Of the whole tree, the root first. */
export function nodesOf(program: Command): readonly Node[] {
  const [root, ...rest] = nodes(program)
  const verbs = verbNodes(program)
  const words = verbs.map(([{ path }, text]) => [path, text] as const)
  return [{ ...root!, words: [...root!.words, ...words] }, ...rest, ...verbs.map(([node]) => node)]
}

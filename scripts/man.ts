/**
 * docs/cryptsetup.md (scripts/cryptsetup.ts), and the man pages: docs/man/*.md, where tresor.1's commands and options come from
 * the command tree of src/cli, into docs/man/*. Needs lowdown(1).
 *
 * Below the lines COMMANDS and OPTIONS of tresor.1.md lie only additions: a term
 * that names a command or an option of the tree, and what --help has no room for.
 *
 *   npm run man
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { pathToFileURL } from "node:url"
import type { Command, Option } from "commander"
import { buildProgram } from "../src/cli/program.ts"
import { cryptsetupPage } from "./cryptsetup.ts"

export const COMMANDS = "<!-- the commands of src/cli/tree; below: what the page adds to them -->"
export const OPTIONS = "<!-- the options of src/cli/tree; below: what the page adds to them -->"

const page = (name: string) => new URL(`../docs/man/${name}`, import.meta.url)

/** Text of the program as Markdown that shows it. */
const plain = (text: string) => text.replace(/[\\*_<>[\]]/g, "\\$&")
const sentence = (text: string, remark = "") => `${plain(text.charAt(0).toUpperCase() + text.slice(1))}${remark}.`

interface Entry {
  /** "key add" */
  readonly path: string
  readonly group: string
  readonly command: Command
}

/** Every command that does something, in the order of --help. */
export function entries(program: Command): Entry[] {
  const visit = (command: Command, path: string, group: string): Entry[] => {
    const children = command.createHelp().visibleCommands(command)
    return children.flatMap((child) => {
      if (child.name() === "help") return []
      const own = `${path} ${child.name()}`.trim()
      const heading = path === "" ? child.helpGroup().replace(/:$/, "") : group
      return child.commands.length > 0 ? visit(child, own, heading) : [{ path: own, group: heading, command: child }]
    })
  }
  return visit(program, "", "")
}

const options = (command: Command) =>
  command
    .createHelp()
    .visibleOptions(command)
    .filter((option) => option.long !== "--help" && option.long !== "--version")

/** A definition list: term, then text. */
const definition = (term: string, paragraphs: readonly string[]) =>
  `${term}\n:   ${paragraphs.join("\n\n").replaceAll("\n", "\n    ").replaceAll("\n    \n", "\n\n")}\n`

/** What a section of the page adds, by term. */
function additions(section: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const [, term, text] of section.matchAll(/^\*\*(.+)\*\*\n: {3}((?:.|\n(?=\n? {4}))*)/gm)) {
    found.set(term!, text!.replace(/^ {4}/gm, "").trim())
  }
  return found
}

function term({ path, command }: Entry): string {
  const operands = command.registeredArguments.map((operand) => {
    const shown = plain(operand.argChoices?.join("|") ?? operand.name().toUpperCase())
    return operand.required ? `*${shown}*` : `[*${shown}*]`
  })
  const aliases = command.aliases().map((alias) => ` (**${alias}**)`)
  return [`**${path}**${aliases.join("")}`, ...operands].join(" ")
}

export function commandSection(program: Command, extra: ReadonlyMap<string, string>): string {
  const all = entries(program)
  const groups = [...new Set(all.map(({ group }) => group))]
  return groups
    .map((group) => {
      const own = all.filter((entry) => entry.group === group)
      const texts = own.map((entry) => {
        const names = options(entry.command).map((option) => `**${option.long ?? option.short}**`)
        const operands = entry.command.registeredArguments
          .filter((operand) => operand.description !== "")
          .map((operand) => `*${plain(operand.name().toUpperCase())}*: ${plain(operand.description)}.`)
        return definition(term(entry), [
          [sentence(entry.command.description()), ...operands, extra.get(entry.path) ?? ""].join(" ").trim(),
          ...(names.length > 0 ? [`Options: ${names.join(", ")}.`] : []),
        ])
      })
      return `## ${group}\n\n${texts.join("\n")}`
    })
    .join("\n")
}

/** " (*auto*, *sgx* or *software*; default: *auto*)" */
function values({ argChoices, defaultValue }: Option): string {
  const choices = argChoices?.map((choice) => `*${choice}*`)
  const last = choices?.pop()
  const list = choices === undefined || last === undefined ? [] : [`${choices.join(", ")} or ${last}`]
  const given = defaultValue === undefined || typeof defaultValue === "boolean" ? [] : [`default: *${defaultValue}*`]
  return list.length + given.length === 0 ? "" : ` (${[...list, ...given].join("; ")})`
}

export function optionSection(program: Command, extra: ReadonlyMap<string, string>): string {
  const found = new Map<string, { readonly option: Option; readonly paths: string[] }[]>()
  for (const { path, command } of entries(program)) {
    for (const option of options(command)) {
      const name = option.long ?? option.short!
      const variants = found.get(name) ?? []
      found.set(name, variants)
      const same = variants.find(
        (variant) => variant.option.description === option.description && values(variant.option) === values(option),
      )
      if (same === undefined) variants.push({ option, paths: [path] })
      else same.paths.push(path)
    }
  }
  return [...found]
    .map(([name, variants]) => {
      // The text of most commands first; the others name theirs.
      const [first, ...others] = variants.toSorted((a, b) => b.paths.length - a.paths.length)
      const { option } = first!
      const value = /<([^>]+)>/.exec(option.flags)?.[1]
      const spellings = [option.short, option.long].filter((flag) => flag !== undefined && flag !== null)
      const said = (variant: { readonly option: Option }) =>
        sentence(variant.option.description, values(variant.option))
      return definition(
        `${spellings.map((flag) => `**${flag}**`).join(", ")}${value === undefined ? "" : ` *${plain(value.toUpperCase())}*`}`,
        [
          [said(first!), extra.get(name) ?? ""].join(" ").trim(),
          ...others.map((variant) => `With ${variant.paths.map((path) => `**${path}**`).join(", ")}: ${said(variant)}`),
        ],
      )
    })
    .join("\n")
}

/** Replaces what follows `marker`, up to the next heading of the first level. */
function fill(
  source: string,
  marker: string,
  known: ReadonlySet<string>,
  make: (extra: ReadonlyMap<string, string>) => string,
): string {
  const start = source.indexOf(marker)
  if (start < 0) throw new Error(`tresor.1.md has no line ${marker}`)
  const end = source.indexOf("\n# ", start)
  const section = source.slice(start + marker.length, end)
  const extra = additions(section)
  const unknown = [...extra.keys()].filter((name) => !known.has(name))
  if (unknown.length > 0) throw new Error(`tresor.1.md adds to what is not in the command tree: ${unknown.join(", ")}`)
  const written = section.match(/^: {3}/gm)?.length ?? 0
  if (written !== extra.size)
    throw new Error(`tresor.1.md has ${written} additions below ${marker}, ${extra.size} read`)
  return `${source.slice(0, start)}${make(extra)}${source.slice(end)}`
}

/** The Markdown that lowdown gets. */
export async function markdown(name: string, source = readFileSync(page(`${name}.md`), "utf8")): Promise<string> {
  if (name !== "tresor.1") return source
  const program = await buildProgram("", ["completion"])
  const all = entries(program)
  const paths = new Set(all.map(({ path }) => path))
  const flags = new Set(all.flatMap(({ command }) => options(command).map((option) => option.long ?? option.short!)))
  const commands = fill(source, COMMANDS, paths, (extra) => commandSection(program, extra))
  return fill(commands, OPTIONS, flags, (extra) => optionSection(program, extra))
}

export function roff(source: string): string {
  // An underscore within a word is no emphasis, as in other Markdown.
  const input = source.replace(/(?<=[A-Za-z0-9])_(?=[A-Za-z0-9\\])/g, "\\_")
  return execFileSync("lowdown", ["-s", "-Tman", "--out-no-smarty"], { input, encoding: "utf8" })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  writeFileSync(
    new URL("../docs/cryptsetup.md", import.meta.url),
    cryptsetupPage(await buildProgram("", ["completion"])),
  )
  for (const name of ["tresor.1", "tresortab.5", "tresord.8", "mount.tresor.8", "tresor-lock.service.8"])
    writeFileSync(page(name), roff(await markdown(name)))
}

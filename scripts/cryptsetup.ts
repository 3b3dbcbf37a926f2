/**
 * docs/cryptsetup.md, from the tables of src/cli/cryptsetup and the command tree. Part of `npm run man`.
 */
import type { Command } from "commander"
import type { Fate } from "../src/cli/cryptsetup/fate.ts"
import { OPTIONS } from "../src/cli/cryptsetup/options.ts"
import { ALIASES, type MappedVerb, VERBS } from "../src/cli/cryptsetup/verbs.ts"
import { flagsOf } from "../src/cli/tresor-command.ts"

const INTRODUCTION = `# cryptsetup → tresor

Made by \`npm run man\` from \`src/cli/cryptsetup\` and the command tree; a test says when it is stale.

\`tresor\` takes the verbs and options of cryptsetup(8) where they mean the same, in cryptsetup's order of arguments, with
its exit codes: \`tresor luksAddKey disk.img new.key\`, \`tresor -q luksFormat --type luks2 /dev/sdx1\`. Options of Tresor may
stand among them. Everything else is refused in one line, with the reason and exit code 1; nothing is left out silently
that cryptsetup would do.

What differs everywhere:

- \`tresor create\` is Tresor's own command; cryptsetup's old \`create\`, for plain dm-crypt, is not there.
- A device without a LUKS header is exit code 4 (wrong device); cryptsetup says 1. \`isLuks\` says 1, as there.
- An empty new passphrase is refused.
- \`-v\` says what cryptsetup says, on standard error.
- Old keyslots go after new ones are on stable storage, so a changed passphrase is in a keyslot of another number.
`

const cell = (text: string) => text.replaceAll("|", "\\|")
const code = (text: string) => `\`${cell(text)}\``
const row = (...cells: readonly string[]) => `| ${cells.join(" | ")} |`

/** "key add PATH" with the value of an option as FILE. */
function command(program: Command, { to, preset = [], operands }: MappedVerb): string {
  let found: Command = program
  for (const name of to.split(" ")) found = found.commands.find((each) => each.name() === name)!
  const own = found.registeredArguments.map((each) =>
    each.required ? each.name().toUpperCase() : `[${each.name().toUpperCase()}]`,
  )
  const options = operands
    .filter((place) => place.startsWith("--"))
    .map((place) => {
      const name = place.replace(/\?$/, "")
      const option = found.options.find(({ long }) => long === name)!
      const value = /<([^>]+)>/.exec(option.flags)![1]!.toUpperCase()
      return place.endsWith("?") ? `[${name} ${value}]` : `${name} ${value}`
    })
  return ["tresor", to, ...preset, ...own, ...options].join(" ")
}

function verbRows(program: Command): string[] {
  return Object.entries(VERBS).map(([verb, found]) => {
    const older = Object.keys(ALIASES).filter((alias) => ALIASES[alias] === verb)
    const names = [verb, ...older].map(code).join(", ")
    return "refused" in found
      ? row(names, "refused", cell(`${found.refused}.`))
      : row(names, code(command(program, found)), cell(found.remark ?? ""))
  })
}

function fateText(fate: Fate): string {
  if ("values" in fate) {
    return `${fate.values.map(code).join(", ")}: nothing to do, ${cell(fate.kept)}; else refused: ${cell(fate.refused)}`
  }
  if ("as" in fate) {
    const { beside } = fate
    return beside === undefined
      ? code(`--${fate.as}`)
      : `${code(`--${fate.as}`)}; ${code(`--${beside.as}`)} beside ${code(`--${beside.option}`)}`
  }
  if ("operand" in fate) return "an operand"
  return "kept" in fate ? `nothing to do: ${cell(fate.kept)}` : `refused: ${cell(fate.refused)}`
}

/** Whether a verb has the option with the fate that it has in general. */
function isGeneral(program: Command, { to, except }: MappedVerb, name: string, fate: Fate): boolean {
  return except?.[name] === undefined && "as" in fate && flagsOf(program, to)?.has(`--${fate.as}`) === true
}

function optionRows(program: Command): string[] {
  const mapped = Object.entries(VERBS).flatMap(([verb, found]) => ("to" in found ? [[verb, found] as const] : []))
  return Object.entries(OPTIONS).map(([name, { short, value, fate }]) => {
    const spelled = [
      ...(short === undefined ? [] : [`-${short}`]),
      `--${name}${value === undefined ? "" : ` ${value}`}`,
    ]
    const others = mapped.flatMap(([verb, { except }]) => {
      const exception = except?.[name]
      return exception === undefined ? [] : [[verb, fateText(exception)] as const]
    })
    const texts = [...new Set(others.map(([, text]) => text))].map((text) => {
      const verbs = others.filter(([, each]) => each === text).map(([verb]) => code(verb))
      return `${verbs.join(", ")}: ${text}`
    })
    // The general case, where some verb has it.
    const general =
      "as" in fate && !mapped.some(([, found]) => isGeneral(program, found, name, fate)) ? [] : [fateText(fate)]
    return row(code(spelled.join(", ")), [...general, ...texts].join(". "))
  })
}

export function cryptsetupPage(program: Command): string {
  return [
    INTRODUCTION,
    "## Verbs\n",
    row("cryptsetup", "tresor", ""),
    row("---", "---", "---"),
    ...verbRows(program),
    "\n## Options\n",
    "An option that cryptsetup ignores at a verb is ignored there. Options of verbs that are refused are not listed by verb.\n",
    row("cryptsetup", "tresor"),
    row("---", "---"),
    ...optionRows(program),
    "",
  ].join("\n")
}

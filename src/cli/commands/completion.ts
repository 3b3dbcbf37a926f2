/** Completion scripts, generated from the command tree itself. */
import type { Command, Option } from "commander"
import { CommanderError } from "commander"
import { out } from "../../output/output.ts"

interface Node {
  /** "key add"; "" for the root. */
  readonly path: string
  readonly words: readonly (readonly [string, string])[]
  readonly options: readonly Option[]
  /** Kinds of the operands, in order. */
  readonly operands: readonly string[]
}

function nodes(command: Command, path = ""): Node[] {
  const help = command.createHelp()
  const children = help.visibleCommands(command)
  const own: Node = {
    path,
    words: children.map((child) => [child.name(), child.description()]),
    options: help.visibleOptions(command),
    operands: command.registeredArguments.map((argument) => argument.argChoices?.join(" ") ?? argument.name()),
  }
  return [
    own,
    ...children
      .filter((child) => child.name() !== "help")
      .flatMap((child) => nodes(child, `${path} ${child.name()}`.trim())),
  ]
}

const flags = (option: Option) =>
  [option.short, option.long].filter((flag): flag is string => flag !== undefined && flag !== null)
const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

/** What follows the words typed so far: names of open volumes, fixed words, or files. */
function bash(all: readonly Node[]): string {
  const cases = all.map((node) => {
    const words = [...node.words.map(([name]) => name), ...node.options.flatMap(flags)].join(" ")
    const name = node.operands.indexOf("name")
    const fixed = node.operands.length === 1 && node.operands[0]!.includes(" ") ? node.operands[0]! : ""
    return `    ${quote(node.path)}) words=${quote(`${words}${fixed === "" ? "" : ` ${fixed}`}`)} names=${name} ;;`
  })
  const valued = all.flatMap((node) => node.options.filter((option) => option.required).flatMap(flags))
  return `# bash completion for tresor
_tresor() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path= words= names=-1 operands=0 skip= i word
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $skip ]]; then skip=; continue; fi
    case $word in
    ${[...new Set(valued)].join("|")}) skip=1; continue ;;
    -*) continue ;;
    esac
    case "\${path:+$path }$word" in
${all
  .filter((node) => node.path !== "")
  .map((node) => `    ${quote(node.path)}) path=${quote(node.path)} ;;`)
  .join("\n")}
    *) operands=$((operands + 1)) ;;
    esac
  done
  COMPREPLY=()
  if [[ -n $skip ]]; then
    COMPREPLY=($(compgen -f -- "$cur"))
    return
  fi
  case $path in
${cases.join("\n")}
  esac
  if [[ $cur == -* || -z $path || $operands -eq 0 ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  fi
  if [[ $cur != -* && $names -eq $operands ]]; then
    COMPREPLY+=($(compgen -W "$(tresor list --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4)" -- "$cur"))
  elif [[ $cur != -* && -n $path ]]; then
    COMPREPLY+=($(compgen -f -- "$cur"))
  fi
}
complete -o filenames -F _tresor tresor
`
}

function zsh(all: readonly Node[]): string {
  const specs = (node: Node) =>
    node.options
      .flatMap((option) => {
        const text = option.description.replace(/[[\]:]/g, " ")
        const value = option.required
          ? `:${option.attributeName()}:${option.argChoices === undefined ? "_files" : `(${option.argChoices.join(" ")})`}`
          : ""
        return flags(option).map((flag) => `      ${quote(`${flag}[${text}]${value}`)}`)
      })
      .join(" \\\n")
  const operand = (kind: string) => (kind === "name" ? "_tresor_names" : kind.includes(" ") ? `(${kind})` : "_files")
  const cases = all.map((node) => {
    const body =
      node.words.length > 0
        ? `      local -a words; words=(${node.words.map(([name, text]) => quote(`${name}:${text}`)).join(" ")})\n      _describe command words`
        : `      _arguments \\\n${[
            specs(node),
            ...node.operands.map(
              (kind, i) => `      ${quote(`${i + 1}:${kind.includes(" ") ? "word" : kind}:${operand(kind)}`)}`,
            ),
          ]
            .filter((line) => line !== "")
            .join(" \\\n")}`
    return `    ${quote(node.path)})\n${body} ;;`
  })
  return `#compdef tresor
_tresor_names() {
  local -a names; names=(\${(f)"$(tresor list --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4)"})
  compadd -a names
}
_tresor() {
  local path= i=2
  while (( i < CURRENT )); do
    case "\${path:+$path }\${words[i]}" in
${all
  .filter((node) => node.path !== "")
  .map((node) => `      ${quote(node.path)}) path=${quote(node.path)} ;;`)
  .join("\n")}
      *) break ;;
    esac
    (( i++ ))
  done
  # What is completed is the part after the command.
  words=("\${path:-tresor}" "\${(@)words[i,-1]}")
  (( CURRENT -= i - 2 ))
  case $path in
${cases.join("\n")}
  esac
}
compdef _tresor tresor
`
}

function fish(all: readonly Node[]): string {
  const lines = ["# fish completion for tresor", "complete -c tresor -f"]
  for (const node of all) {
    const parts = node.path.split(" ").filter((part) => part !== "")
    const seen = parts.map((part) => `__fish_seen_subcommand_from ${part}`)
    const children = node.words.map(([name]) => name)
    const condition =
      parts.length === 0
        ? "__fish_use_subcommand"
        : [...seen, ...(children.length > 0 ? [`not __fish_seen_subcommand_from ${children.join(" ")}`] : [])].join(
            "; and ",
          )
    for (const [name, text] of node.words)
      lines.push(`complete -c tresor -n ${quote(condition)} -a ${name} -d ${quote(text)}`)
    for (const option of node.options) {
      const short = option.short === undefined || option.short === null ? "" : ` -s ${option.short.slice(1)}`
      const long = option.long === undefined || option.long === null ? "" : ` -l ${option.long.slice(2)}`
      const value = option.required
        ? option.argChoices === undefined
          ? " -r -F"
          : ` -x -a ${quote(option.argChoices.join(" "))}`
        : ""
      lines.push(`complete -c tresor -n ${quote(condition)}${short}${long}${value} -d ${quote(option.description)}`)
    }
    for (const kind of node.operands) {
      if (kind === "name")
        lines.push(
          `complete -c tresor -n ${quote(condition)} -a "(tresor list --json 2>/dev/null | string match -ra '\\"name\\":\\"[^\\"]*\\"' | string split -f4 '\\"')"`,
        )
      else if (kind.includes(" ")) lines.push(`complete -c tresor -n ${quote(condition)} -a ${quote(kind)}`)
      else lines.push(`complete -c tresor -n ${quote(condition)} -F`)
    }
  }
  return `${lines.join("\n")}\n`
}

export async function completion(shell: string, program: Command): Promise<void> {
  const writers: Readonly<Record<string, (all: readonly Node[]) => string>> = { bash, zsh, fish }
  const write = writers[shell]
  if (write === undefined) throw new CommanderError(1, "tresor.shell", shell)
  out.script(write(nodes(program)))
}

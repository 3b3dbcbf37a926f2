/** Completion scripts, generated from the command tree itself and from cryptsetup's words. */
import { type Command, CommanderError } from "commander"
import { type Node, nodesOf, type Value } from "../completion-nodes.ts"
import { out } from "../output/output.ts"

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
const LIST = `list --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4`

/** A call of one of the script's own functions. */
function bashReply({ kind }: Value): string {
  if (kind === "file") return "_tresor_files -f"
  if (kind === "folder") return "_tresor_files -d"
  if (kind === "name") return "_tresor_names"
  return kind === "none" ? ":" : `_tresor_words ${quote(kind.join(" "))}`
}

function bash(all: readonly Node[]): string {
  const paths = all.filter((node) => node.path !== "").map((node) => quote(node.path))
  const valued = [
    ...new Set(
      all.flatMap((node) => node.flags.filter((flag) => flag.value !== null)).flatMap((flag) => flag.spellings),
    ),
  ]
  const cases = all.map((node) => {
    const own = node.flags.filter((flag) => flag.value !== null)
    const values = own.map(
      (flag) => `    ${quote(node.path)}:${flag.spellings.join(`|${quote(node.path)}:`)}) ${bashReply(flag.value!)} ;;`,
    )
    const operands = node.operands.map((each, index) => `    ${quote(node.path)}:${index}) ${bashReply(each)} ;;`)
    return { values, operands }
  })
  const words = all.map(
    (node) =>
      `    ${quote(node.path)}) words=${quote(node.words.map(([name]) => name).join(" "))} flags=${quote(node.flags.flatMap((flag) => flag.spellings).join(" "))} ;;`,
  )
  return `# bash completion for tresor
_tresor_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }
_tresor_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}
_tresor_names() { _tresor_words "$("$program" ${LIST})"; }
_tresor() {
  local program=$1 cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  local command= words= flags= operands=0 skip= i word
  # --option=value comes as three words.
  if [[ $cur == "=" ]]; then cur=
  elif [[ $prev == "=" ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == "=" ]] && continue
    if [[ -n $skip ]]; then skip=; continue; fi
    case $word in
    ${valued.join("|")}) skip=1; continue ;;
    -*) continue ;;
    esac
    case "\${command:+$command }$word" in
    ${paths.join("|")}) command="\${command:+$command }$word" ;;
    *) operands=$((operands + 1)) ;;
    esac
  done
  COMPREPLY=()
  case "$command:$prev" in
${cases.flatMap(({ values }) => values).join("\n")}
    *)
  case $command in
${words.join("\n")}
  esac
  if [[ $cur == -* ]]; then _tresor_words "$flags"; return; fi
  if [[ -n $words ]]; then
    ((operands == 0)) && _tresor_words "$words"
    return
  fi
  case "$command:$operands" in
${cases.flatMap(({ operands }) => operands).join("\n")}
  esac
  ;;
  esac
}
complete -F _tresor tresor
`
}

function zshAction({ kind }: Value): string {
  if (kind === "file") return "_files"
  if (kind === "folder") return "_files -/"
  if (kind === "name") return "_tresor_names"
  return kind === "none" ? " " : `(${kind.join(" ")})`
}

function zsh(all: readonly Node[]): string {
  const spec = (node: Node) => [
    ...node.flags.flatMap((flag) => {
      const text = flag.text.replace(/[[\]:\\]/g, " ")
      const argument = flag.value === null ? "" : `:${flag.value.title}:${zshAction(flag.value)}`
      return flag.spellings.map((spelling) => quote(`${spelling}[${text}]${argument}`))
    }),
    ...node.operands.map((operand, index) => quote(`${index + 1}:${operand.title}:${zshAction(operand)}`)),
  ]
  const cases = all.map((node) => {
    const body =
      node.words.length > 0
        ? `      if [[ $PREFIX == -* ]]; then _arguments \\\n        ${spec(node).join(" \\\n        ")}\n      else local -a subcommands; subcommands=(${node.words.map(([name, text]) => quote(`${name}:${text.replaceAll(":", "\\:")}`)).join(" ")})\n        _describe command subcommands\n      fi`
        : `      _arguments \\\n        ${spec(node).join(" \\\n        ")}`
    return `    ${quote(node.path)})\n${body} ;;`
  })
  return `#compdef tresor
_tresor_names() {
  local -a names; names=(\${(f)"$($program ${LIST})"})
  compadd -a names
}
_tresor() {
  # Not "path": that is $PATH.
  local program=$words[1] command= i=2
  while (( i < CURRENT )); do
    case "\${command:+$command }\${words[i]}" in
${all
  .filter((node) => node.path !== "")
  .map((node) => `      ${quote(node.path)}) command=${quote(node.path)} ;;`)
  .join("\n")}
      *) break ;;
    esac
    (( i++ ))
  done
  # What is completed is the part after the command.
  words=("\${command:-tresor}" "\${(@)words[i,-1]}")
  (( CURRENT -= i - 2 ))
  case $command in
${cases.join("\n")}
  esac
}
# Read by source, or, as a file of $fpath, as the function itself at the first Tab.
if [[ $funcstack[1] == _tresor ]]; then _tresor "$@"; else compdef _tresor tresor; fi
`
}

function fishArguments({ kind }: Value): string {
  if (kind === "file") return "-F"
  if (kind === "folder") return `-x -a "(__fish_complete_directories)"`
  if (kind === "name") return `-x -a "(__tresor_names)"`
  return kind === "none" ? "-x" : `-x -a ${quote(kind.join(" "))}`
}

function fish(all: readonly Node[]): string {
  const lines = [
    "# fish completion for tresor",
    "function __tresor_names",
    `  set -l program (commandline -opc)[1]`,
    `  $program ${LIST}`,
    "end",
    "complete -c tresor -f",
  ]
  for (const node of all) {
    const seen = node.path
      .split(" ")
      .filter((part) => part !== "")
      .map((part) => `__fish_seen_subcommand_from ${part}`)
    const children = node.words.map(([name]) => name)
    const condition =
      seen.length === 0
        ? "__fish_use_subcommand"
        : [...seen, ...(children.length > 0 ? [`not __fish_seen_subcommand_from ${children.join(" ")}`] : [])].join(
            "; and ",
          )
    const when = `complete -c tresor -n ${quote(condition)}`
    for (const [name, text] of node.words) lines.push(`${when} -a ${name} -d ${quote(text)}`)
    for (const flag of node.flags) {
      const names = flag.spellings.map((each) =>
        each.startsWith("--") ? `-l ${each.slice(2)}` : `-s ${each.slice(1)}`,
      )
      const argument = flag.value === null ? "" : ` -r ${fishArguments(flag.value)}`
      lines.push(`${when} ${names.join(" ")}${argument} -d ${quote(flag.text)}`)
    }
    for (const operand of node.operands)
      if (operand.kind !== "none") lines.push(`${when} ${fishArguments(operand).replace(/^-x /, "")}`)
  }
  return `${lines.join("\n")}\n`
}

export async function completion(shell: string, program: Command): Promise<void> {
  const writers: Readonly<Record<string, (all: readonly Node[]) => string>> = { bash, zsh, fish }
  const write = writers[shell]
  if (write === undefined) throw new CommanderError(1, "tresor.shell", shell)
  out.script(write(nodesOf(program)))
}

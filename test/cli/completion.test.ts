/** Completion as it happens: Tab in an interactive bash, zsh and fish. */
import assert from "node:assert/strict"
import { mkdirSync } from "node:fs"
import { before, test } from "node:test"
import { fileURLToPath } from "node:url"
import { Place, run } from "./harness.ts"

const place = new Place()
const bin = place.path("bin")
const work = place.path("work")
const typist = fileURLToPath(new URL("complete.py", import.meta.url))

/** Stands for the program: one open volume; any other command says with what it was called. */
const STUB = `#!/bin/sh
case "$*" in
"list --json") echo '[{"name":"work-1","state":"unlocked"}]' ;;
*) printf 'RAN'; printf ' <%s>' "$@"; printf ' DONE\\n' ;;
esac
`

before(async () => {
  mkdirSync(bin)
  mkdirSync(work)
  mkdirSync(`${work}/only-folder`)
  place.file("bin/tresor", STUB)
  place.file("work/only-file.img", "")
  await run("chmod", ["+x", `${bin}/tresor`])
  for (const shell of ["bash", "zsh", "fish"]) {
    const { stdout } = await place.tresor(["completion", shell])
    place.file(`completion.${shell}`, stdout)
  }
})

const start = (shell: string): readonly string[] => {
  const script = place.path(`completion.${shell}`)
  if (shell === "bash")
    return ["bash", "--noprofile", "--rcfile", place.file("rc.bash", `. ${script}; PS1='> '; echo READY\n`), "-i"]
  if (shell === "fish") return ["fish", "--no-config", "-i", "-C", `source ${script}; set fish_greeting; echo READY`]
  return ["zsh", "-f", "-i"]
}

/** What the program was called with after `typed`, Tabs included. */
async function called(shell: string, typed: string): Promise<string> {
  const rc = `autoload -U compinit && compinit -u -D; source ${place.path("completion.zsh")}; PS1='> '; echo RE""ADY`
  const keys = shell === "zsh" ? `${typed}` : typed
  const command = shell === "zsh" ? ["sh", "-c", `ZDOTDIR=${place.path("zdot")} exec zsh -d -i`] : start(shell)
  if (shell === "zsh") {
    mkdirSync(place.path("zdot"), { recursive: true })
    place.file("zdot/.zshrc", `${rc}\n`)
  }
  const env = {
    PATH: `${bin}:${process.env["PATH"]}`,
    HOME: place.folder,
    XDG_CONFIG_HOME: place.folder,
    XDG_DATA_HOME: place.folder,
  }
  const { stdout } = await run("python3", [typist, keys, ...command], { env, cwd: work })
  const found = /RAN((?: <[^>]*>)+) DONE/.exec(stdout)
  assert.ok(found, JSON.stringify(stdout.slice(-600)))
  return found[1]!.trim()
}

for (const shell of ["bash", "zsh", "fish"]) {
  test(`${shell}: commands, subcommands, options, their values, names and files`, { timeout: 300_000 }, async () => {
    for (const [typed, expected] of [
      ["tresor um\\t", "<umount>"],
      ["tresor key re\\t", "<key> <remove>"],
      ["tresor open --allow\\t", "<open> <--allow-discards>"],
      ["tresor open --backend soft\\t", "<open> <--backend> <software>"],
      ["tresor close w\\t", "<close> <work-1>"],
      ["tresor open only-fi\\t", "<open> <only-file.img>"],
      ["tresor open -d only-fi\\t", "<open> <-d> <only-file.img>"],
      ["tresor key add only-fi\\t", "<key> <add> <only-file.img>"],
      // Nothing of the folder where a word of ours belongs, or a number.
      ["tresor key only\\t", "<key> <only>"],
      ["tresor open --backend only\\t", "<open> <--backend> <only>"],
      ["tresor create x --size only\\t", "<create> <x> <--size> <only>"],
      ["tresor completion z\\t", "<completion> <zsh>"],
      // cryptsetup's words; src/cli/completion-nodes.test.ts has the rest.
      ["tresor luksAdd\\t", "<luksAddKey>"],
      ["tresor luksFormat --ty\\t", "<luksFormat> <--type>"],
      ["tresor luksAddKey x only-fi\\t", "<luksAddKey> <x> <only-file.img>"],
    ] as const) {
      assert.equal(await called(shell, typed), expected, `${shell}: ${typed}`)
    }
  })
}

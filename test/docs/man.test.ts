import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { globSync, readFileSync } from "node:fs"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import type { Command } from "commander"
import { cryptsetupPage } from "../../scripts/cryptsetup.ts"
import { entries, markdown, roff } from "../../scripts/man.ts"
import { NOT_OURS } from "../../src/cli/mount-helper.ts"
import { buildProgram } from "../../src/cli/program.ts"
import { flagsOf } from "../../src/cli/tresor-command.ts"
import { daemonOptionsSchema } from "../../src/control/daemon-options.ts"
import { legacySchema } from "../../src/tresord/legacy-start.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const built = (page: string) => readFileSync(`${root}/docs/man/${page}`, "utf8")

/** As man(1) shows it, without bold and underline; hyphens as they are typed. */
const shown = (page: string) =>
  execFileSync("mandoc", ["-Tutf8", "-Owidth=500"], { input: built(page), encoding: "utf8" })
    .replace(/.[\b]/g, "")
    .replace(/[\u2010\u2011\u2212]/g, "-")

const PAGES = ["tresor.1", "tresortab.5", "tresord.8", "mount.tresor.8", "tresor-lock.service.8"]

for (const page of PAGES) {
  test(`docs/man/${page} is what \`npm run man\` makes of its Markdown and the command tree`, async () => {
    assert.equal(built(page), roff(await markdown(page)))
  })

  test(`docs/man/${page} has no error mandoc knows of`, () => {
    execFileSync("mandoc", ["-Tlint", "-W", "error", `${root}/docs/man/${page}`])
  })
}

test("docs/cryptsetup.md is what `npm run man` makes of src/cli/cryptsetup and the command tree", async () => {
  const page = cryptsetupPage(await buildProgram("", ["completion"]))
  assert.equal(readFileSync(`${root}/docs/cryptsetup.md`, "utf8"), page)
})

for (const page of PAGES) {
  test(`docs/man/${page} as it is read keeps underscores and has no asterisk of its Markdown`, async () => {
    const source = await markdown(page)
    const text = shown(page)
    const names = [...source.replaceAll("\\", "").matchAll(/[A-Za-z0-9]+_[A-Za-z0-9_]+/g)].map(([name]) => name)
    for (const name of names) assert.ok(text.includes(name), name)
    assert.doesNotMatch(text, /\*[A-Za-z-]+\*/)
  })
}

test("tresor.1 as it is read has every command and every option of --help", async () => {
  const text = shown("tresor.1")
  const commands = text.slice(text.indexOf("\nCOMMANDS\n"), text.indexOf("\nOPTIONS\n"))
  const options = text.slice(text.indexOf("\nOPTIONS\n"), text.indexOf("\nOUTPUT\n"))
  const all = entries(await buildProgram("", ["completion"]))
  assert.ok(all.length >= 42, String(all.length))
  let flags = 0
  for (const { path, command } of all) {
    const start = commands.search(new RegExp(`^ +${path}( |$)`, "m"))
    assert.ok(start >= 0, `no command ${path}`)
    for (const option of visible(command)) {
      flags++
      assert.match(options, new RegExp(`^ +(-\\w, )?${option}( |$)`, "m"), `${path} ${option}`)
    }
  }
  assert.ok(flags >= 200, String(flags))
})

function visible(command: Command): string[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map((option) => option.long ?? option.short!)
    .filter((name) => name !== "--help")
}

test("an addition to a command or an option that is not there stops `npm run man`", async () => {
  const source = readFileSync(`${root}/docs/man/tresor.1.md`, "utf8")
  await assert.rejects(
    markdown("tresor.1", source.replace("\n**lock**\n", "\n**lokc**\n")),
    /not in the command tree: lokc/,
  )
  await assert.rejects(
    markdown("tresor.1", source.replace("\n**--grace**\n", "\n**--grease**\n")),
    /not in the command tree: --grease/,
  )
})

test("every environment variable that the programs read is in a man page", () => {
  const sources = globSync(["src/**/*.ts", "launcher/*.c"], { cwd: root }).filter(
    (path) => !path.endsWith(".test.ts") && !path.startsWith("src/testing/"),
  )
  const names = new Set(
    sources.flatMap((path) =>
      [...readFileSync(`${root}/${path}`, "utf8").matchAll(/env\["(TRESOR_\w+)"\]/g)].map(([, name]) => name!),
    ),
  )
  assert.ok(names.has("TRESOR_DEBUG") && names.size >= 3, [...names].join(" "))
  const pages = `${shown("tresor.1")}${shown("tresord.8")}`
  for (const name of names) assert.ok(pages.includes(name), name)
})

test("mount.tresor.8 has the options that the helper takes as Tresor's, and no others", async () => {
  const text = readFileSync(`${root}/docs/man/mount.tresor.8.md`, "utf8")
  const list = text.slice(text.indexOf("# OPTIONS"), text.indexOf("All other options"))
  const named = [...list.matchAll(/\*\*([a-z-]+=?)\*\*/g)].map(([, name]) => name!).filter((name) => name !== "tresor")
  const flags = [...flagsOf(await buildProgram("", []), "mount")!]
    .filter(([flag]) => flag.startsWith("--") && !NOT_OURS.includes(flag))
    .map(([flag, valued]) => `${flag.slice(2)}${valued ? "=" : ""}`)
  assert.deepEqual(named.sort(), flags.sort())
})

test("tresortab.5 has the options that the generator takes, and no others", () => {
  const source = readFileSync(`${root}/generator/generator.c`, "utf8")
  const begin = source.indexOf("static bool take_option(")
  const body = source.slice(begin, source.indexOf("\n}\n", begin))
  const taken = [...body.matchAll(/(?:\{ |option, )"([^"]+)"/g)].map(([, word]) => word!.replace("=", ""))
  const section = readFileSync(`${root}/docs/man/tresortab.5.md`, "utf8")
    .split(/^# /m)
    .find((each) => each.startsWith("OPTIONS"))!
  const named = [...section.matchAll(/^\*\*(?:.*)\n(?=: )/gm)].flatMap(([line]) =>
    [...line.matchAll(/\*\*([^*=]+)=?\*\*/g)].map(([, word]) => word!),
  )
  assert.ok(taken.length > 20, taken.join(" "))
  assert.deepEqual([...named].sort(), [...new Set(taken)].sort())
})

test("tresord.8 has the options that tresord takes, and no others", () => {
  // main.ts' own ones cannot be imported: it runs.
  const main = readFileSync(`${root}/src/tresord/main.ts`, "utf8")
  const own = [.../const ownEntries = \{([^}]*)\n\}/.exec(main)![1]!.matchAll(/^ {2}(\w+): v\./gm)].map(
    ([, name]) => name!,
  )
  assert.ok(own.includes("lifeline") && own.includes("legacy"), own.join(" "))
  const fields = new Set([...Object.keys(daemonOptionsSchema.entries), ...Object.keys(legacySchema.entries), ...own])
  const declared = [...fields]
    .filter((field) => field !== "path" && field !== "name")
    .map((field) => `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`)
  const page = built("tresord.8")
  const options = page.slice(page.indexOf("\nOPTIONS\n"))
  const listed = [...options.slice(0, options.indexOf("\n.SH", 1)).matchAll(/^\\fB(--[a-z-]+)\\fR/gm)].map(
    ([, name]) => name!,
  )
  assert.deepEqual(listed.toSorted(), declared.toSorted())
})

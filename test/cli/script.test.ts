/** A script that must fail does, and says where; script.ts would else hide what it is to find. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { Place } from "./harness.ts"
import { runText, ScriptError } from "./script.ts"

const place = new Place()
let count = 0
const attempt = (text: string) => runText(place, `try-${count++}.txt`, text)

for (const [what, text, expected] of [
  [
    "a command that fails",
    "# one\n\ntresor opne",
    /^try-\d+\.txt:3: tresor opne: exit code 1, not 0\n[\s\S]*unknown command/,
  ],
  ["a failure that does not happen", "! tresor --version", /:1: .*exit code 0, not another code than 0/],
  ["another exit code", "!2 tresor opne", /:1: .*exit code 1, not 2/],
  ["other words", "tresor --version\nstdout 'nine'", /:2: stdout 'nine': it did not say so/],
  ["words that must not be there", "tresor --version\n! stdout '.'", /:2: .*it did say so/],
  ["the right words on the other stream", "!1 tresor opne\nstdout 'open'", /:2: .*did not say so/],
  ["another error", "!1 tresor opne\nerror 'closed'", /:2: .*did not say so/],
  ["no error", "tresor --version\nerror '.'", /:2: .*not all it said/],
  ["an error that is cryptsetup's", "!4 cryptsetup luksUUID none\nerror 'none'", /:2: .*not all it said/],
  ["a file that is not there", "exists nothing\ntresor --version", /:1: .*there is none/],
  ["a file that is there", "write here 'x'\n! exists here\ntresor --version", /:2: .*there is one/],
  ["a prompt that never comes", "ttyin\n  Your name > me\ntresor --version", /:3: .*nothing asked: Your name/],
  ["standard output of a terminal", "ttyin\ntresor --version\nstdout '.'", /:3: .*use screen/],
  ["a screen without a terminal", "tresor --version\nscreen '.'", /:2: .*on no terminal/],
  ["a check before any command", "stdout '.'\ntresor --version", /:1: .*no command has run/],
  ["a variable that is not set", "tresor $NOTHING", /:1: .*\$NOTHING is not set/],
  ["a group too few", "tresor --version\ncapture A B stdout '(.)'", /:2: .*1 groups, not 2/],
  ["files that differ", "write a 'x'\nwrite b 'y'\ncmp a b", /:3: cmp a b: exit code 1/],
] as const) {
  test(`fails: ${what}`, async () => {
    await assert.rejects(attempt(text), (error) => error instanceof ScriptError && expected.test(error.message))
  })
}

for (const [what, text, expected] of [
  ["a misspelt statement", "exists x\nstdoot 'x'", /^try-\d+\.txt:2: stdoot is no statement/],
  ["a program that is none of a script's", "sh -c true", /:1: sh is no statement and no program/],
  ["a quote that does not end", "tresor 'x", /:1: cannot be read/],
  ["a check of two words", "stdout a b", /:1: stdout has 2 words/],
  ["typed at no prompt", "tresor list\n  Prompt > x", /:2: is indented/],
  [
    "what is typed at no command",
    "tresor list\nttyin\n  Prompt > x\nexists x",
    /:2: ttyin is for the command that follows/,
  ],
  ["input for no command", "tresor list\nstdin 'x'", /:2: stdin is for the command that follows/],
  ["a failure with exit code 0", "!0 tresor list", /:1: that is no failure/],
  ["a refusal of what cannot fail", "! write a 'b'", /:1: write with !/],
] as const) {
  test(`is not even begun: ${what}`, async () => {
    const before = "write begun 'x'\n! exists begun\n"
    const lines = (pattern: RegExp) =>
      new RegExp(pattern.source.replace(/:(\d):/, (_, line) => `:${Number(line) + 2}:`))
    await assert.rejects(
      attempt(before + text),
      (error) => error instanceof ScriptError && lines(expected).test(error.message),
    )
  })
}

test("a script without a command is none", () =>
  assert.rejects(attempt("# nothing\nwrite a 'b'"), /there is no command in it/))

test("passes: variables, groups, regular expressions, quotes", () =>
  attempt(
    [
      "set WORDS --version",
      "tresor $WORDS",
      "stdout '^\\d+\\.\\d+\\.\\d+$'",
      "capture MAJOR MINOR stdout '^(\\d+)\\.(\\d+)'",
      "stdout '^$MAJOR\\.$MINOR'",
      "write a 'x (y) $MAJOR\\n'",
      "write b 'x (y) $MAJOR\\n'",
      "cmp a b",
      "write big 3M",
      "!1 cmp a big",
    ].join("\n"),
  ))

import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import fc from "fast-check"
import { visibleJson, visibleLine, visibleText } from "../../base/visible.ts"
import { anyText } from "../../testing/any-text.ts"
import { facts, table } from "../table.ts"
import { bold, green, outside, plain, resolve } from "./style.ts"
import { width, wrapText } from "./wrap.ts"

/** Independently of visible.ts: what a terminal acts on, or shows in another place than it stands. */
function harmless(text: string, { lines }: { readonly lines: boolean }): boolean {
  for (const character of text) {
    const code = character.codePointAt(0)!
    if (lines && (code === 0x0a || code === 0x09)) continue
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return false
    if (code === 0x061c || code === 0x200e || code === 0x200f || (code >= 0x2028 && code <= 0x202e)) return false
    if (code >= 0x2066 && code <= 0x2069) return false
    if (code === 0xad || code === 0xfeff || (code >= 0x200b && code <= 0x200d) || (code >= 0xe0000 && code < 0xe0080))
      return false
    if (code >= 0xd800 && code <= 0xdfff) return false
  }
  return true
}

/** Any UTF-16 at all, with what hurts more often than chance would have it. */
const hostile = fc
  .array(
    fc.oneof(
      anyText(),
      fc.constantFrom(
        ..."\x1b\x07\x08\x0a\x0d\x7f\x85\x9b\x9d\u061c\u200e\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff\ud800",
        "\x1b]0;title\x07",
        "\x1b[2J",
        "\x9b6n",
        "\u{e0041}",
      ),
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join(""))

test("nothing a terminal acts on is left of any text", () => {
  fc.assert(
    fc.property(hostile, (text) => {
      assert.ok(harmless(visibleLine(text), { lines: false }), JSON.stringify(visibleLine(text)))
      assert.ok(harmless(visibleText(text), { lines: true }))
    }),
    { numRuns: 2000 },
  )
})

test("harmless text is left as it is, in every script", () => {
  for (const text of ["disk.img", "Zürich", "données", "Загрузка", "磁碟", "ملفات", "קבצים", "🔐", "a\\x1bb"])
    assert.equal(visibleLine(text), text)
  assert.equal(visibleLine("a\x1b[31m\n\u202eb"), "a\\x1b[31m\\n\\u202eb")
})

test("JSON is another text of the same value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), hostile, (value, text) => {
      const object = { value, text, [text]: null }
      for (const indent of [undefined, 2]) {
        const json = visibleJson(JSON.stringify(object, null, indent))
        assert.deepEqual(JSON.parse(json), JSON.parse(JSON.stringify(object)))
        assert.ok(harmless(json, { lines: true }))
      }
    }),
    { numRuns: 1000 },
  )
})

test("colours are ours alone: no text of others makes one, whatever it holds", () => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const own = /\x1b\[(1|22|32|39)m/g
  fc.assert(
    fc.property(hostile, hostile, (a, b) => {
      const shown = resolve(outside(`${green(a)} ${bold(b)}`, visibleLine), true, visibleText)
      assert.equal(shown.match(own)?.length, 4)
      assert.ok(harmless(shown.replace(own, ""), { lines: false }))
      assert.equal(plain(`${green(a)}${b}`), a + b)
    }),
    { numRuns: 1000 },
  )
  // The code a colour has on the terminal, in a label: no colour.
  assert.equal(resolve("\x1b[32mlabel", true, visibleText), "\\x1b[32mlabel")
})

test("a cell of a table or of facts stays one line", () => {
  fc.assert(
    fc.property(hostile, hostile, (a, b) => {
      assert.equal(table(["A", "B"], [[a, b]]).split("\n").length, 3)
      assert.equal(
        facts([
          ["a", a],
          [b, "b"],
        ]).split("\n").length,
        3,
      )
    }),
  )
})

test("wrapped text has the same words, and no line longer than the terminal but for one long word", () => {
  const words = fc.array(fc.stringMatching(/^[!-~]{1,30}$/), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(words, fc.integer({ min: 20, max: 120 }), (list, columns) => {
      const wrapped = wrapText(list.join(" "), columns)
      assert.deepEqual(wrapped.split(/\s+/), list)
      for (const line of wrapped.split("\n")) assert.ok(width(line) <= columns || !line.includes(" "), line)
    }),
  )
})

test("a table fits 80 and 40 columns, or becomes a list of facts", () => {
  const header = ["SLOT", "KIND", "STRENGTH", "WHY"]
  const rows = [
    ["0", "tresor", "strong", "sealed to a machine: guessing takes that machine's secret file"],
    ["31", "recovery key", "strong", "256 random bits, written on paper and kept away from this machine"],
  ]
  for (const columns of [120, 80, 60, 40]) {
    const text = table(header, rows, columns)
    for (const line of text.split("\n")) assert.ok(width(line) <= columns, `${columns}: ${line}`)
    assert.deepEqual(
      rows.flat().filter((cell) => !text.replace(/\s+/g, " ").includes(cell.split(" ")[0]!)),
      [],
    )
  }
  assert.match(table(header, rows, 80), /^SLOT {2}KIND {10}STRENGTH {2}WHY\n/)
  assert.match(table(header, rows, 40), /^SLOT: +0\nKIND: +tresor\n/)
  // Two columns each, where the terminal takes two.
  assert.equal(table(["A", "B"], [["磁碟", "x"]]), "A     B\n磁碟  x\n")
})

/** Exceptions: what they write is drawn here or no text at all. */
const WRITERS = [
  "src/cli/output/output.ts",
  // A bar and a clock, their cursor movements included; their labels are constants.
  "src/cli/progress.ts",
  // `bridge`: the bytes of a protocol.
  "src/cli/commands/setkey.ts",
  // Of the build, not of the product.
  "src/enclave/image/sign-build.ts",
]

test("text leaves in one place", () => {
  const root = fileURLToPath(new URL("../../..", import.meta.url))
  for (const entry of readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(root.length)
    if (!path.endsWith(".ts") || /\.test\.ts$|^src\/testing\//.test(path) || WRITERS.includes(path)) continue
    const text = readFileSync(join(root, path), "utf8")
    assert.doesNotMatch(text, /process\.std(out|err)\.write|process\.std(out|err)\)|console\.\w+\(/, path)
  }
})

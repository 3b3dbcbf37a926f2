/** What a person sees on a terminal: width, colours, what is asked and what not, who holds what. */
import assert from "node:assert/strict"
import { hostname } from "node:os"
import { before, test } from "node:test"
import { Place, run } from "./harness.ts"

const place = new Place()
let path = ""
let keyFile = ""

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img", "correct horse"))
  const more = ["--portable", "--new-key-file", place.file("two", "two"), "--pbkdf", "pbkdf2"]
  const added = await place.tresor([
    "key",
    "add",
    path,
    "--key-file",
    keyFile,
    ...more,
    "--pbkdf-force-iterations",
    "1000",
  ])
  assert.equal(added.code, 0, added.stderr)
  assert.equal((await place.tresor(["open", path, "work", "--key-file", keyFile])).code, 0)
})

const VIEWS = (): readonly (readonly string[])[] => [
  ["status", "work"],
  ["list"],
  ["doctor"],
  ["key", "list", path],
  ["check", path],
  ["selftest"],
]

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const SGR = /\x1b\[\d+m/g

for (const columns of [80, 40]) {
  test(`every view fits ${columns} columns, but for words that are longer`, async () => {
    for (const args of [...VIEWS(), ["open", "--help"]]) {
      const { stdout } = await place.typed(args, [], { TERMINAL_COLUMNS: String(columns) })
      for (const line of stdout.split(/\r?\n/)) {
        const rest = line.trim()
        assert.ok(
          line.length <= columns || !rest.includes(" ") || /^\S+: +\S+$/.test(rest),
          `${args.join(" ")}: ${line}`,
        )
      }
    }
  })
}

test("every view that has states shows them in colour on a terminal, and in none with NO_COLOR or a pipe", async () => {
  for (const args of VIEWS()) {
    const coloured = await place.typed(args, [], { NO_COLOR: "" })
    const codes = new Set(coloured.stdout.match(SGR))
    assert.ok(codes.has("\x1b[32m"), `${args.join(" ")}: ${coloured.stdout.slice(0, 200)}`)
    for (const code of codes) assert.match(code.slice(1), /^\[(1|22|2|31|32|33|39)m$/)
    assert.equal((await place.typed(args, [])).stdout.match(SGR), null)
    assert.equal((await place.tresor(args, { env: { NO_COLOR: "" } })).stdout.match(SGR), null)
  }
})

test("key list tells where and when a sealed keyslot was made", async () => {
  const [first] = JSON.parse((await place.tresor(["key", "list", path, "--json"])).stdout)
  assert.equal(first.made.host, hostname())
  assert.match(first.made.on, /^\d{4}-\d\d-\d\d$/)
  assert.match((await place.tresor(["key", "list", path])).stdout, new RegExp(`sealed to ${hostname()} on `))
})

test("key remove looks at the keyslot before it asks for a passphrase", async () => {
  const none = await place.typed(["key", "remove", path, "--key-slot", "9"], [])
  assert.equal(none.code, 1)
  assert.match(none.stdout, /^tresor: error: Keyslot 9 is not active[^\n]*\n$/)
  const only = await place.volume("one.img", "x")
  const last = await place.typed(["key", "remove", only.path], [])
  assert.equal(last.code, 1)
  assert.match(last.stdout, /^tresor: error: Keyslot 0 is the last one/)
})

test("wipe draws no bar over its question", async () => {
  const { path: doomed } = await place.volume("doomed.img", "x")
  const { code, stdout } = await place.typed(["wipe", doomed], [["Type the volume's UUID", "@LATER@no\r"]])
  assert.equal(code, 2)
  assert.ok(!stdout.includes("Wiping"), stdout)
})

test("the size is shown as usable and as given", async () => {
  assert.match((await place.tresor(["status", "work"])).stdout, /^size: +16 MiB usable, in a file of 32 MiB$/m)
})

test("a signal in between leaves no recovery-key file", async () => {
  const [image, recovery] = [place.path("slow.img"), place.path("slow.recovery")]
  const slow = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "8000000", "--recovery-key-file", recovery]
  const args = ["create", image, "--size", "32M", "--key-file", keyFile, ...slow]
  const { code } = await place.typed(args, [["Making the keyslots", "^C"]])
  assert.notEqual(code, 0)
  assert.equal((await run("ls", [image, recovery])).stdout, "")
})

/** One prompt for volumes that share a passphrase. */
import assert from "node:assert/strict"
import { before, test } from "node:test"
import { Place } from "./harness.ts"

const place = new Place()
const SHARED = "correct horse"
const OTHER = "battery staple"

before(async () => {
  for (const [name, passphrase] of [
    ["one", SHARED],
    ["three", OTHER],
    ["two", SHARED],
  ] as const) {
    const { path } = await place.volume(`${name}.img`, passphrase)
    const opened = await place.tresor(["open", path, name, "--locked"])
    assert.equal(opened.code, 0, opened.stderr)
  }
})

async function states(): Promise<Record<string, string>> {
  const { stdout } = await place.tresor(["list", "--json"])
  return Object.fromEntries(JSON.parse(stdout).map((each: { name: string; state: string }) => [each.name, each.state]))
}

const lockAll = async () => assert.equal((await place.tresor(["lock", "--all"])).code, 0)

test("on a terminal each passphrase is asked for once, for all that still wait", async () => {
  const { code, stdout } = await place.typed(
    ["setkey", "--all"],
    [
      ["Enter passphrase for one, three, two: ", `${SHARED}\n`],
      ["Enter passphrase for three: ", `${OTHER}\n`],
    ],
  )
  assert.equal(code, 0, stdout)
  assert.equal(stdout.match(/Enter passphrase/g)?.length, 2)
  assert.deepEqual(await states(), { one: "unlocked", three: "unlocked", two: "unlocked" })
  const nothing = await place.tresor(["setkey", "--all"])
  assert.deepEqual([nothing.code, nothing.stdout, nothing.stderr], [0, "", ""], "nothing waits, nobody is asked")
})

test("an attempt that opens one is not a wrong one; wrong ones end after --tries", async () => {
  await lockAll()
  const { code, stdout } = await place.typed(
    ["setkey", "--all", "--tries", "2"],
    [
      ["Enter passphrase for one, three, two: ", "wrong\n"],
      ["Enter passphrase for one, three, two: ", `${SHARED}\n`],
      ["Enter passphrase for three: ", "wrong\n"],
      ["Enter passphrase for three: ", "wrong\n"],
    ],
  )
  assert.equal(code, 2, stdout)
  assert.equal(stdout.match(/No key available with this passphrase/g)?.length, 3)
  assert.deepEqual(await states(), { one: "unlocked", three: "locked", two: "unlocked" })
})

test("a key file is tried once on all; those that it does not open are left locked, exit 2", async () => {
  await lockAll()
  const { code, stderr } = await place.tresor(["setkey", "--all", "--key-file", place.path("three.img.key")])
  assert.equal(code, 2, stderr)
  assert.deepEqual(await states(), { one: "locked", three: "unlocked", two: "locked" })
})

test("a volume that cannot be unlocked keeps no other from it, and is named", async () => {
  await lockAll()
  const args = ["setkey", "--all", "--key-file", place.path("one.img.key"), "--key-slot", "0"]
  const { code } = await place.tresor(args)
  assert.equal(code, 2)
  assert.deepEqual(await states(), { one: "unlocked", three: "locked", two: "unlocked" })
  await lockAll()
  const other = await place.tresor(["setkey", "--all", "--key-file", place.path("one.img.key"), "--key-slot", "7"])
  assert.notEqual(other.code, 0)
  assert.equal(other.stderr.trim().split("\n").length, 3, other.stderr)
})

test("--all excludes a name, --remote and --legacy", async () => {
  for (const [args, fact] of [
    [["setkey"], /no volume is named/],
    [["setkey", "one", "--all"], /a name and --all exclude each other/],
    [["setkey", "--all", "--remote", "root@host"], /--all and --remote exclude each other/],
    [["setkey", "--all", "--legacy"], /--all and --legacy exclude each other/],
  ] as const) {
    const { code, stderr } = await place.tresor(args)
    assert.equal(code, 1)
    assert.match(stderr, fact)
  }
})

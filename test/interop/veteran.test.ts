/** Somebody who knows cryptsetup: the same lines run with both programs, with the same exit codes; and all of cryptsetup's verbs and options are known. */
import assert from "node:assert/strict"
import { mkdirSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { OPTIONS } from "../../src/cli/cryptsetup/options.ts"
import { ALIASES, VERBS } from "../../src/cli/cryptsetup/verbs.ts"
import { Place, run } from "../cli/harness.ts"

const place = new Place()
const QUICK = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
const folders = { cryptsetup: place.path("cryptsetup"), tresor: place.path("tresor") }
type Program = keyof typeof folders

/** `more`: what only tresor is told. */
function line(program: Program, words: readonly string[], more: readonly string[] = []) {
  const cwd = folders[program]
  return program === "cryptsetup" ? run("cryptsetup", words, { cwd }) : place.tresor([...words, ...more], { cwd })
}

/** The same words, the same exit code. */
async function both(code: number, words: readonly string[], more: readonly string[] = []): Promise<void> {
  const [theirs, ours] = await Promise.all([line("cryptsetup", words), line("tresor", words, more)])
  assert.equal(theirs.code, code, `cryptsetup ${words.join(" ")}: ${theirs.stderr}`)
  assert.equal(ours.code, code, `tresor ${words.join(" ")}: ${ours.stderr}`)
}

/** The volume of one program, with the other's words. */
async function swapped(code: number, words: readonly string[]): Promise<void> {
  for (const [program, volume] of [
    ["cryptsetup", "../tresor/disk.img"],
    ["tresor", "../cryptsetup/disk.img"],
  ] as const) {
    const { code: found, stderr } = await line(
      program,
      words.map((word) => (word === "disk.img" ? volume : word)),
    )
    assert.equal(found, code, `${program} ${words.join(" ")}, ${volume}: ${stderr}`)
  }
}

before(() => {
  for (const folder of Object.values(folders)) {
    mkdirSync(folder)
    for (const name of ["disk.img", "zeros"]) {
      writeFileSync(join(folder, name), "")
      truncateSync(join(folder, name), 32 << 20)
    }
    for (const name of ["one", "two", "three", "wrong"]) writeFileSync(join(folder, name), `pass ${name}`)
    writeFileSync(join(folder, "token.json"), '{"type":"mine","keyslots":["0"],"more":1}')
  }
})

const tests = (key: string, ...more: string[]) => ["open", "--test-passphrase", "-d", key, ...more, "disk.img"]

test("format, dump, isLuks, luksUUID", async () => {
  await both(1, ["luksFormat"])
  await both(1, ["isLuks", "disk.img"])
  await both(
    0,
    ["-q", "luksFormat", "--type", "luks2", ...QUICK, "disk.img", "one"],
    ["--recovery-key-file", "recovery"],
  )
  await both(0, ["isLuks", "disk.img"])
  await both(0, ["isLuks", "--type", "luks2", "-v", "disk.img"])
  await both(1, ["isLuks", "--type", "luks1", "disk.img"])
  await both(1, ["isLuks", "zeros"])
  await both(4, ["isLuks", "nothing"])
  await both(0, ["luksDump", "disk.img"])
  await both(4, ["luksDump", "nothing"])
  await both(1, ["--size", "3", "luksDump", "disk.img"])
  await both(0, ["luksUUID", "disk.img"])
  await both(0, ["config", "disk.img", "--label", "work", "--subsystem", "mine"])
  await both(1, ["config", "disk.img"])
  await swapped(0, ["luksDump", "disk.img"])
  await swapped(0, ["isLuks", "disk.img"])
})

test("cryptsetup opens with the recovery key what luksFormat made here", async () => {
  const { code, stderr } = await line("cryptsetup", tests("../tresor/recovery").with(-1, "../tresor/disk.img"))
  assert.equal(code, 0, stderr)
})

test("test a passphrase, add, change and remove keys", async () => {
  await both(0, tests("one"))
  await both(0, tests("one", "-S", "0", "-v"))
  await both(2, tests("wrong"))
  await both(1, tests("one", "-S", "9"))
  await both(1, tests("nothing"))
  await both(4, ["open", "--test-passphrase", "-d", "one", "nothing"])
  await both(1, ["open", "disk.img"])
  await both(0, ["luksAddKey", ...QUICK, "-d", "one", "disk.img", "two"], ["--portable"])
  await both(2, ["luksAddKey", ...QUICK, "-d", "wrong", "disk.img", "two"], ["--portable"])
  await both(0, tests("two"))
  await swapped(0, tests("two"))
  await both(0, ["luksChangeKey", ...QUICK, "-d", "two", "disk.img", "three"], ["--portable"])
  await both(2, tests("two"))
  await swapped(0, tests("three"))
  await both(0, ["config", "--priority", "ignore", "-S", "0", "disk.img"])
  await both(2, tests("one"))
  await both(0, ["config", "--priority", "normal", "-S", "0", "disk.img"])
  await both(0, tests("one"))
  await both(1, ["luksKillSlot", "disk.img", "9", "-d", "one"])
})

test("backup, remove, restore", async () => {
  await both(1, ["luksHeaderBackup", "disk.img"])
  await both(0, ["luksHeaderBackup", "disk.img", "--header-backup-file", "backup"])
  await both(0, ["luksRemoveKey", "disk.img", "three"])
  await both(2, ["luksRemoveKey", "disk.img", "three"])
  await both(2, tests("three"))
  await both(0, ["luksHeaderRestore", "-q", "disk.img", "--header-backup-file", "backup"])
  await swapped(0, tests("three"))
})

test("tokens", async () => {
  await both(0, ["token", "import", "disk.img", "--json-file", "token.json", "--token-id", "9"])
  await both(1, ["token", "import", "disk.img", "--json-file", "token.json", "--token-id", "9"])
  await both(0, ["token", "import", "disk.img", "--json-file", "token.json", "--token-id", "9", "--token-replace"])
  await both(0, ["token", "export", "disk.img", "--token-id", "9", "--json-file", "out.json"])
  await both(1, ["token", "export", "disk.img"])
  await both(1, ["token", "export", "disk.img", "--token-id", "8"])
  await both(0, ["token", "add", "disk.img", "--key-description", "a:b", "--token-id", "7", "--key-slot", "0"])
  await both(0, ["token", "unassign", "disk.img", "--token-id", "7", "--key-slot", "0"])
  await both(1, ["token", "unassign", "disk.img", "--token-id", "7", "--key-slot", "0"])
  await both(0, ["token", "remove", "disk.img", "--token-id", "7"])
  await both(1, ["token", "remove", "disk.img", "--token-id", "7"])
  await both(1, ["token", "remove", "disk.img"])
  const exported = await line("tresor", ["token", "export", "../cryptsetup/disk.img", "--token-id", "9"])
  assert.equal(
    exported.stdout.trim(),
    (await line("cryptsetup", ["token", "export", "../tresor/disk.img", "--token-id", "9"])).stdout.trim(),
  )
})

test("reencrypt", async () => {
  const words = ["reencrypt", "-q", "--force-offline-reencrypt", "disk.img", ...QUICK, "-d", "one", "-S", "0"]
  await both(0, [...words, "--resilience", "checksum"], ["--no-recovery"])
  await both(2, tests("three"))
  await both(0, tests("one"))
  const { code, stderr } = await line("tresor", tests("one").with(-1, "../cryptsetup/disk.img"))
  assert.equal(code, 0, stderr)
  await swapped(0, ["luksDump", "disk.img"])
})

test("open and close", async () => {
  // cryptsetup's by its man page: it would need device-mapper here.
  const ours = async (code: number, words: readonly string[]) => {
    const { code: found, stderr } = await line("tresor", words)
    assert.equal(found, code, `${words.join(" ")}: ${stderr}`)
  }
  await ours(2, ["luksOpen", "disk.img", "work", "--key-file", "wrong"])
  await ours(0, ["luksOpen", "disk.img", "work", "--key-file", "one", "--disable-keyring"])
  await ours(5, ["luksOpen", "disk.img", "work", "--key-file", "one"])
  await ours(0, ["status", "work"])
  await ours(0, ["luksSuspend", "work"])
  await ours(0, ["luksResume", "work", "-d", "one"])
  await ours(0, ["luksClose", "work"])
  await ours(4, ["luksClose", "work"])
})

test("erase", async () => {
  await both(0, ["luksErase", "-q", "disk.img"])
  await both(1, tests("one"))
  await both(4, ["erase", "-q", "nothing"])
  await both(1, ["luksOops", "disk.img"])
})

test("every verb, alias and option of this machine's cryptsetup is in the tables, with its short form and its value", async () => {
  const help = (await run("cryptsetup", ["--help"])).stdout
  const options = [...help.matchAll(/^ {2}(?:-(\S), | {4})--([a-z0-9_-]+)(=\S+)?/gm)]
  assert.ok(options.length > 100, String(options.length))
  for (const [, short, name, value] of options) {
    if (["help", "usage", "version"].includes(name!)) continue
    const known = OPTIONS[name!]
    assert.ok(known !== undefined, `--${name}`)
    assert.equal(known.short, short, `--${name}`)
    assert.equal(known.value !== undefined, value !== undefined, `--${name}`)
  }
  const actions = [...help.matchAll(/^\t([a-zA-Z0-9]+) (?:<|\[)/gm)].map(([, verb]) => verb!)
  const aliases = [...help.matchAll(/^\t(?:open|close): (.*)$/gm)].flatMap(
    ([, names]) => names!.match(/[a-zA-Z0-9]+/g)!,
  )
  assert.ok(actions.length > 20 && aliases.length > 10, `${actions} ${aliases}`)
  for (const verb of [...actions, ...aliases]) {
    // `create` is ours.
    if (verb === "token" || verb === "create") continue
    assert.ok(Object.hasOwn(VERBS, verb) || Object.hasOwn(ALIASES, verb), verb)
  }
})

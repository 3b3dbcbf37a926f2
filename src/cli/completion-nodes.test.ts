import assert from "node:assert/strict"
import { test } from "node:test"
import { nodesOf } from "./completion-nodes.ts"
import { translate } from "./cryptsetup/translate.ts"
import { buildProgram } from "./program.ts"
import { flagsOf } from "./tresor-command.ts"

const program = await buildProgram("", ["completion"])
const all = nodesOf(program)
const node = (path: string) => all.find((each) => each.path === path)!
const verbs = all.filter(({ path }) => /^(luks|isLuks)/.test(path))

test("cryptsetup's verbs for LUKS are commands, the root names them, and none is there twice", () => {
  for (const verb of ["luksFormat", "luksOpen", "luksClose", "luksAddKey", "luksSuspend", "luksErase", "isLuks"]) {
    assert.ok(node(verb), verb)
    assert.ok(node("").words.some(([word]) => word === verb))
  }
  const words = node("").words.map(([word]) => word)
  assert.equal(new Set(words).size, words.length)
  for (const refused of ["tcryptDump", "loopaesOpen", "plainClose"]) assert.equal(node(refused), undefined)
})

test("a verb has the options of cryptsetup that have an effect, and ours", () => {
  const spelled = (path: string) => node(path).flags.flatMap(({ spellings }) => spellings)
  for (const flag of ["--type", "-i", "--iter-time", "-q", "--no-recovery", "--portable"])
    assert.ok(spelled("luksFormat").includes(flag), flag)
  for (const flag of ["--integrity", "--disable-keyring"]) assert.ok(!spelled("luksFormat").includes(flag), flag)
  for (const { path } of verbs) assert.equal(new Set(spelled(path)).size, spelled(path).length, path)
})

test("operands are in cryptsetup's order: a name to be given is not that of an open volume", () => {
  const kinds = (path: string) => node(path).operands.map(({ kind }) => kind)
  assert.deepEqual(kinds("luksOpen"), ["file", "none"])
  assert.deepEqual(kinds("luksAddKey"), ["file", "file"])
  assert.deepEqual(kinds("luksSuspend"), ["name"])
})

test("whatever is offered is taken", () => {
  for (const { path, flags, operands } of verbs) {
    for (const { spellings, value } of flags) {
      for (const spelling of spellings) {
        const kind = value?.kind
        const given = value === null ? [] : [typeof kind === "object" ? kind[0]! : "1"]
        const words = [path, spelling, ...given, ...operands.map((_, index) => `x${index}`)]
        assert.doesNotThrow(() => translate(words, (command) => flagsOf(program, command)), words.join(" "))
      }
    }
  }
})

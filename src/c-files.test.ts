/**
 * No circle among the C files of a program: none uses what another defines
 * while that one uses, by however many steps, what it defines itself.
 *
 * The linker's tables tell who defines and who uses what in addon/ and
 * enclave/; kernel/, whose objects need a kernel, has kernel/files.test.ts.
 * Calls that assembly makes do not count: it is where control comes in from
 * outside of C (the CPU, the vDSO, the image's ENCLU), and what it enters is not
 * what it is made of.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { globSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { circlesOf } from "./testing/circles.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

interface Symbols {
  readonly defined: readonly string[]
  readonly used: readonly string[]
}

/** Who uses whom of the files. */
function usesOf(symbols: ReadonlyMap<string, Symbols>): ReadonlyMap<string, ReadonlySet<string>> {
  const home = new Map([...symbols].flatMap(([file, { defined }]) => defined.map((name) => [name, file] as const)))
  const users = [...symbols].map(([file, { used }]) => {
    const homes = used.map((name) => home.get(name)).filter((each) => each !== undefined && each !== file)
    return [file, new Set(homes as string[])] as const
  })
  return new Map(users)
}

/** As nm(1) tells them of objects: upper case is what others see, U what others have. */
function symbolsOf(objects: readonly string[]): ReadonlyMap<string, Symbols> {
  const symbols = new Map(objects.map((object) => [object, { defined: [] as string[], used: [] as string[] }]))
  const lines = execFileSync("nm", ["-P", "-A", ...objects], { cwd: root, encoding: "utf8" })
    .trimEnd()
    .split("\n")
  for (const line of lines) {
    const [, object = "", name = "", kind = ""] = /^(.*): (\S+) (\w)\b/.exec(line) ?? []
    if (kind === "U") symbols.get(object)!.used.push(name)
    else if (kind === kind.toUpperCase()) symbols.get(object)!.defined.push(name)
  }
  return symbols
}

/** The sources below a folder, and what their objects hold. An object whose source is gone does not count. */
function built(folder: string, objectOf: (source: string) => string): ReadonlyMap<string, Symbols> {
  const objects = globSync("**/*.{c,S}", { cwd: join(root, folder) })
    .map((source) => [source, globSync(objectOf(source), { cwd: root })[0]] as const)
    .filter((each): each is [string, string] => each[1] !== undefined)
  const symbols = symbolsOf(objects.map(([, object]) => object))
  return new Map(
    objects.map(([source, object]) => {
      const { defined, used } = symbols.get(object)!
      return [source, { defined, used: source.endsWith(".S") ? [] : used }]
    }),
  )
}

/** The files and how many uses there are among them; a reader that finds nothing finds no circle either. */
function assertNoCircle(symbols: ReadonlyMap<string, Symbols>, least: { files: number; uses: number }): void {
  const uses = usesOf(symbols)
  const count = [...uses.values()].reduce((sum, { size }) => sum + size, 0)
  assert.ok(symbols.size >= least.files && count >= least.uses, `${symbols.size} files, ${count} uses were found`)
  assert.deepEqual(circlesOf(uses), [])
}

for (const addon of ["tresor", "tresor_fake"]) {
  test(`no circle in the files of ${addon}.node`, () => {
    const symbols = built("addon", (source) => `addon/build/Release/${addon}/${source}.o`)
    assertNoCircle(symbols, { files: 25, uses: 40 })
  })
}

for (const image of ["tresor", "vectors"]) {
  test(`no circle in the files of the enclave's image ${image}`, () => {
    const makefile = readFileSync(join(root, "enclave/Makefile"), "utf8")
    const shared = /^SHARED = (.*)$/m.exec(makefile)![1]!.split(" ")
    const all = built("enclave", (source) => `enclave/build/${source.replace(/\.[cS]$/, ".o")}`)
    const linked = [...all].filter(([source]) => {
      const room = dirname(source)
      if (room === "crypto") return true
      return image === "vectors" ? room === "vectors" || shared.includes(source.replace(/\.[cS]$/, "")) : room === "."
    })
    assertNoCircle(new Map(linked), { files: 25, uses: 60 })
  })
}

test("no circle in what C headers include", () => {
  const headers = globSync("{abi,addon,enclave,kernel,test/vm}/**/*.h", { cwd: root, exclude: ["**/build"] })
  const includes = headers.map((file) => {
    const names = [...readFileSync(join(root, file), "utf8").matchAll(/^#include "([^"]+)"/gm)].map(([, name]) => name!)
    const found = names.map((name) =>
      [dirname(file), ".", "abi", "enclave"].map((folder) => join(folder, name)).find((each) => headers.includes(each)),
    )
    return [file, found.filter((each) => each !== undefined)] as const
  })
  assert.ok(includes.flatMap(([, names]) => names).length > 30, "what is read are not the headers")
  assert.deepEqual(circlesOf(new Map(includes)), [])
})

test("a circle is found", () => {
  const symbols = new Map<string, Symbols>([
    ["a.c", { defined: ["a"], used: ["b"] }],
    ["b.c", { defined: ["b"], used: ["c", "elsewhere"] }],
    ["c.c", { defined: ["c"], used: ["a", "c"] }],
    ["d.c", { defined: ["d"], used: ["a"] }],
  ])
  assert.deepEqual(circlesOf(usesOf(symbols)), ["a.c -> b.c -> c.c -> a.c"])
  assert.deepEqual([...usesOf(symbols).get("d.c")!], ["a.c"])
})

/** What holds between the module's files, and between them and the rest. */
import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"

const read = (name: string): string =>
  readFileSync(join(import.meta.dirname, name), "utf8").replace(/\/\*[\s\S]*?\*\//g, "")

const kbuild = read("Kbuild").replaceAll("\\\n", " ")
/** From the bottom up, as linked. */
const files = (/^tresor-y := (.*)$/m.exec(kbuild)?.[1] ?? "").trim().split(/\s+/)
/** Functions that queue.h asks for: calls that go up, through an interface of the callee's own. */
const given = new Set(
  [
    ...readFileSync(join(import.meta.dirname, "queue.h"), "utf8")
      .split("/* Given by ")[1]!
      .matchAll(/\b(tresor_\w+)\(/g),
  ].map(([, name]) => name!),
)
/** Functions, lists, locks and variables that a file defines for others. */
function defined(source: string): string[] {
  const functions = source.matchAll(
    /^(?!static|typedef|#|DEFINE_STATIC)[a-z][^\n;={}]*?\b(tresor_\w+)\([^;{}]*\)\n\{/gm,
  )
  const data = source.matchAll(
    /^(?!static)(?:DEFINE_SPINLOCK|LIST_HEAD)\((tresor_\w+)\);|^(?!static|extern)[a-z][\w *]*?(tresor_\w+)(?:\[\])?(?: = [^;]*)?;/gm,
  )
  return [...functions, ...data].map(([, one, other]) => one ?? other!)
}

test("each file of tresor.ko knows those before it in Kbuild only", () => {
  const homes = new Map<string, number>()
  const sources = files.map((name) => read(name.replace(/o$/, "c")))
  for (const [at, source] of sources.entries()) for (const name of defined(source)) homes.set(name, at)
  // What the headers promise is found, else a call could go unseen.
  const promised = [
    ...`${read("tresor.h")}${read("queue.h")}`.matchAll(/^(?!static)\w[^\n;#]*?\b\*?(tresor_\w+)\([^;{]*\);/gm),
  ]
  assert.ok(promised.length > 40, `${promised.length} functions in the headers`)
  for (const [, name] of promised) assert.ok(homes.has(name!), `nobody defines ${name}`)
  for (const [at, source] of sources.entries()) {
    for (const [name] of source.matchAll(/\btresor_\w+/g)) {
      const home = homes.get(name)
      if (home === undefined || given.has(name)) continue
      assert.ok(home <= at, `${files[at]} comes before ${files[home]}, and uses its ${name}`)
    }
  }
})

test("Kbuild links every source", () => {
  const sources = readdirSync(import.meta.dirname).filter((name) => /^[a-z]+\.c$/.test(name))
  assert.deepEqual(sources.map((name) => name.replace(/c$/, "o")).sort(), [...files].sort())
})

test("the module and its DKMS package have the product's version", () => {
  const { version } = JSON.parse(read("../package.json")) as { version: string }
  assert.equal(/^MODULE_VERSION\("(.*)"\);$/m.exec(read("main.c"))?.[1], version)
  assert.equal(/^PACKAGE_VERSION="(.*)"$/m.exec(read("dkms.conf"))?.[1], version)
})

/** The layers of ARCHITECTURE.md: who imports whom, and what imports no Node. */
import assert from "node:assert/strict"
import { globSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { circlesOf } from "./testing/circles.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

/** What each room may import of; with that, all that those may. */
const BELOW: Readonly<Record<string, readonly string[]>> = {
  base: [],
  abi: ["base"],
  native: ["abi"],
  luks2: ["abi"],
  tpm: ["native"],
  enclave: ["tpm", "luks2"],
  attest: ["enclave"],
  lease: ["base"],
  nbd: ["base"],
  store: ["nbd", "native"],
  header: ["store", "luks2"],
  volume: ["store", "enclave"],
  export: ["volume"],
  vhost: ["volume"],
  keyslots: ["header", "enclave"],
  reencrypt: ["keyslots"],
  mapping: ["volume"],
  block: ["mapping"],
  control: ["attest"],
  protection: ["enclave"],
  mount: ["control", "block"],
  tresord: ["control", "export", "vhost", "reencrypt", "lease", "block"],
  library: ["control", "export", "keyslots", "reencrypt", "block", "mount", "protection"],
  cli: ["library"],
}

/** No `node:` module, no addon, nor anything that has one: they run in a browser. */
const PURE = ["abi", "luks2", "attest/judge", "cli/cryptsetup"]

/** Every import of a source file, `import(...)` and types among them. `read`: what of its text counts. */
function importsOf(file: string, read = (text: string) => text): readonly string[] {
  const text = read(readFileSync(join(root, file), "utf8"))
  return [...text.matchAll(/^(?:import|export)\b[^"]*?from "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"/gm)].map(
    ([, from, lazy, bare]) => {
      const name = from ?? lazy ?? bare!
      return name.startsWith(".") ? normalize(join(dirname(file), name)) : name
    },
  )
}

const files = globSync("src/**/*.ts", { cwd: root })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => !file.endsWith(".test.ts") && !file.startsWith("src/testing/"))
const imports = new Map(files.map((file) => [file, importsOf(file)]))
/** src/index.ts is the door of library/. */
const roomOf = (file: string): string => (file === "src/index.ts" ? "library" : file.split("/")[1]!)

function allowed(room: string): ReadonlySet<string> {
  const all = new Set([room])
  for (const each of BELOW[room] ?? []) for (const below of allowed(each)) all.add(below)
  return all
}

test("ARCHITECTURE.md shows the same list", () => {
  const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8")
  const shown = [...text.matchAll(/^(\w+)\/ +<- ([\w, ]*?) {2}/gm)].map(([, room, below]) => [
    room,
    below!.split(", ").filter((each) => each !== ""),
  ])
  assert.deepEqual(Object.fromEntries(shown), BELOW)
})

test("each room imports only what lies below it", () => {
  assert.ok(files.length > 200 && [...imports.values()].flat().length > 1000, "what is read is not the source")
  assert.deepEqual([...new Set(files.map(roomOf))].sort(), Object.keys(BELOW).sort())
  const turned = [...imports].flatMap(([file, names]) =>
    names
      .filter((name) => name.startsWith("src/") && !allowed(roomOf(file)).has(roomOf(name)))
      .map((name) => `${file} -> ${name}`),
  )
  assert.deepEqual(turned, [])
})

test("pure rooms import no Node and no addon, themselves or by way of others", () => {
  const seen = new Map<string, string>()
  const visit = (file: string, from: string): void => {
    if (seen.has(file)) return
    seen.set(file, from)
    for (const name of imports.get(file) ?? []) visit(name, file)
  }
  for (const file of files.filter((each) => PURE.some((room) => each.startsWith(`src/${room}/`)))) visit(file, "")
  const impure = [...seen].filter(([name]) => name.startsWith("node:") || name.startsWith("src/native/"))
  assert.deepEqual(impure, [])
})

test("a file that says it is pure reaches no Node module and no addon, but for types", () => {
  const typesOnly = /^(?:import|export) (?:type [^"]*|\{(?:\s*type [^,}]*,?)+\s*\}) from "[^"]+"/gm
  const runs = new Map(files.map((file) => [file, importsOf(file, (text) => text.replace(typesOnly, ""))]))
  const says = files.filter((file) => /^\/\*\*(?:(?!\*\/)[\s\S])*\bPure\b/.test(readFileSync(join(root, file), "utf8")))
  assert.ok(says.length > 50, "the first comment of a file says it")
  const impure = says.flatMap((file) => {
    const reached = new Set([file])
    for (const each of reached) for (const name of runs.get(each) ?? []) reached.add(name)
    const found = [...reached].find((name) => name.startsWith("node:") || name.startsWith("src/native/"))
    return found === undefined ? [] : [`${file} reaches ${found}`]
  })
  assert.deepEqual(impure, [])
})

test("only src/native loads the addon", () => {
  const loaders = files.filter((file) =>
    /tresor\.node|\baddon\b as unknown/.test(readFileSync(join(root, file), "utf8")),
  )
  assert.deepEqual(
    loaders.filter((file) => roomOf(file) !== "native"),
    [],
  )
})

test("no two files import each other, by however many steps", () => {
  assert.deepEqual(circlesOf(imports), [])
})

test("nothing of the product imports what only tests use", () => {
  const found = [...imports].filter(([, names]) => names.some((name) => name.startsWith("src/testing/")))
  assert.deepEqual(
    found.map(([file]) => file),
    [],
  )
})

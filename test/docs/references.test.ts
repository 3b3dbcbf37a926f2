/** What the documents name exists. */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { existsSync, globSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" })
  .split("\0")
  .filter((name) => name !== "" && !name.startsWith("lib/") && existsSync(join(root, name)))
const read = (name: string) => readFileSync(join(root, name), "utf8")
const documents = files.filter((name) => name.endsWith(".md") && name !== "CHANGELOG.md")

/** Folders of the repository, build output aside. */
const FOLDERS = new Set(
  files.filter((name) => name.includes("/") && !name.startsWith(".")).map((name) => name.split("/")[0]!),
)

/** Of Linux. */
const LINUX = new Set(["kernel/events/core.c", "kernel/trace/bpf_trace.c"])

test("decisions are numbered without a gap, dated, titled, and all in the index", () => {
  const names = files
    .filter((name) => /^docs\/decisions\/\d/.test(name))
    .map((name) => name.slice("docs/decisions/".length))
  assert.deepEqual(
    names.map((name) => name.slice(0, 4)),
    names.map((_, index) => String(index + 1).padStart(4, "0")),
  )
  const rows = names.map((name) => {
    const [title, blank, date] = read(`docs/decisions/${name}`).split("\n")
    const number = name.slice(0, 4)
    assert.match(title!, new RegExp(`^# ${number}: \\S`), name)
    assert.equal(blank, "", name)
    assert.match(date!, /^Date: 20\d\d-[01]\d-[0-3]\d$/, name)
    return `| [${number}](${name}) | ${date!.slice("Date: ".length)} | ${title!.slice("# 0000: ".length)} |`
  })
  assert.deepEqual(read("docs/decisions/README.md").match(/^\| \[.*$/gm), rows)
})

test("every decision that is referred to anywhere exists", () => {
  const numbers = new Set(files.flatMap((name) => /^docs\/decisions\/(\d{4})-/.exec(name)?.[1] ?? []))
  let seen = 0
  const missing = files.flatMap((name) =>
    [...read(name).matchAll(/(?:\bdecisions\/|\bdecision )(\d{3,})/gi)]
      .filter(([, number]) => {
        seen++
        return !numbers.has(number!)
      })
      .map(([text]) => `${name}: ${text}`),
  )
  assert.deepEqual(missing, [])
  assert.ok(seen > 15, String(seen))
})

test("every path of the repository that a document names in code exists", () => {
  let seen = 0
  const missing = documents.flatMap((document) =>
    [...read(document).matchAll(/`([\w.-]+\/[\w./*-]*)`/g)]
      .map(([, path]) => path!)
      .filter((path) => FOLDERS.has(path.split("/")[0]!) && !/\/build\/|^docs\/decisions\//.test(path))
      .filter((path) => {
        seen++
        return ![root, join(root, dirname(document))].some((folder) => globSync(path, { cwd: folder }).length > 0)
      })
      .map((path) => `${document}: ${path}`),
  )
  assert.deepEqual(missing, [])
  assert.ok(seen > 60, String(seen))
})

test("every link of a document leads to a file", () => {
  let seen = 0
  const broken = documents.flatMap((document) =>
    [...read(document).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        seen++
        return !existsSync(join(root, normalize(join(dirname(document), target))))
      })
      .map((target) => `${document}: ${target}`),
  )
  assert.deepEqual(broken, [])
  assert.ok(seen > 10, String(seen))
})

test("every file of the repository that a comment names exists", () => {
  let seen = 0
  const missing = files
    .filter((name) => /\.(ts|mjs|cjs|c|h|S|py|sh)$|Makefile$/.test(name))
    .flatMap((name) =>
      read(name)
        .split("\n")
        .filter((line) => /^\s*(\/\/|\/\*|\*|#)/.test(line))
        .flatMap((line) => [
          ...line.matchAll(
            /(?<![\w./*-])((?:src|addon|enclave|abi|kernel|test|docs|scripts|launcher|bench)\/[\w./-]+\.(?:ts|mjs|cjs|c|h|S|md|py|sh))\b/g,
          ),
        ])
        .map(([, path]) => path!)
        .filter((path) => !LINUX.has(path))
        .filter((path) => {
          seen++
          return ![".", dirname(name), dirname(dirname(name))].some((folder) => existsSync(join(root, folder, path)))
        })
        .map((path) => `${name}: ${path}`),
    )
  assert.deepEqual(missing, [])
  assert.ok(seen > 20, String(seen))
})

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
  .filter((name) => name !== "" && existsSync(join(root, name)))
const read = (name: string) => readFileSync(join(root, name), "utf8")
const documents = files.filter((name) => name.endsWith(".md") && name !== "CHANGELOG.md")

/** Folders of the repository, build output aside. */
const FOLDERS = new Set(
  files.filter((name) => name.includes("/") && !name.startsWith(".")).map((name) => name.split("/")[0]!),
)

/** Made by the user. */
const MADE = new Set(["enclave/signer.pem"])
/** Of Linux. */
const LINUX = new Set(["kernel/events/core.c", "kernel/trace/bpf_trace.c"])

test("every path of the repository that a document names in code exists", () => {
  let seen = 0
  const missing = documents.flatMap((document) =>
    [...read(document).matchAll(/`([\w.-]+\/[\w./*-]*)`/g)]
      .map(([, path]) => path!)
      .filter(
        (path) => FOLDERS.has(path.split("/")[0]!) && !/\/build\/|^docs\/decisions\//.test(path) && !MADE.has(path),
      )
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

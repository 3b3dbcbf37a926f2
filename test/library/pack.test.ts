/** The tarball of `npm pack`, installed in an empty project: its library and its command work there. */
import assert from "node:assert/strict"
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { Place, root, run } from "../cli/harness.ts"
import { examples } from "./examples.ts"

const place = new Place()
const project = place.path("project")
/** npm's settings of this run are not the project's. */
const env = {
  ...Object.fromEntries(Object.keys(process.env).flatMap((name) => (/^npm_/i.test(name) ? [[name, undefined]] : []))),
  ...place.env,
}
let packed: readonly string[] = []

/** What this run's own `npm ci` has fetched is not fetched again; a registry out of reach is told of, not waited for. */
const WORDS = ["--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1", "--fetch-timeout=60000"]
const npm = (args: readonly string[], cwd: string) => run("timeout", ["300", "npm", ...args, ...WORDS], { cwd, env })

before(async () => {
  const pack = await npm(["pack", "--pack-destination", place.folder], root)
  assert.equal(pack.code, 0, pack.stderr)
  const tarball = place.path(pack.stdout.trim().split("\n").at(-1)!)
  packed = (await run("tar", ["-tzf", tarball])).stdout.trim().split("\n")
  mkdirSync(project)
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }))
  const installed = await npm(["install", tarball], project)
  assert.equal(installed.code, 0, installed.stderr)
})

test("the tarball has what runs, and no key, object file or test", () => {
  for (const name of ["lib/index.js", "dist/tresord.bundle.cjs", "enclave/build/tresor.sigstruct", "addon/ring.c"]) {
    assert.ok(packed.includes(`package/${name}`), name)
  }
  assert.deepEqual(
    packed.filter((name) => /\.(pem|o|d|ci|ko|test\.ts|node)$|\/test\/|^package\/src\//.test(name)),
    [],
  )
})

/** Versions of Node that had a function of a module first, as its types say; a backport counts. Empty: nothing is said. */
function since(module: string, name: string): readonly number[] {
  const types = readFileSync(join(root, `node_modules/@types/node/${module}.d.ts`), "utf8")
  const declared = new RegExp(`^ *(?:export )?(?:declare )?(?:function|class) ${name}\\b`, "m").exec(types)
  const before = types.slice(0, declared?.index ?? 0)
  const [, versions = ""] = /@since ([^\n]*)\n(?:(?!\*\/)[\s\S])*\*\/\s*$/.exec(before.slice(-4000)) ?? []
  return [...versions.matchAll(/v(\d+)\.(\d+)/g)].map(([, major, minor]) => Number(major) * 1000 + Number(minor))
}

test("the library takes nothing of Node that the oldest version of docs/api.md lacks", () => {
  const [, major, minor] = /Node (\d+)\.(\d+) or\s+newer/.exec(readFileSync(join(root, "docs/api.md"), "utf8"))!
  const oldest = Number(major) * 1000 + Number(minor)
  assert.deepEqual(since("util", "getSystemErrorMessage"), [22012])
  assert.deepEqual(since("crypto", "hash"), [21007, 20012])
  const folder = join(project, "node_modules/tresor/lib")
  const used = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js"))
    .flatMap((name) => [
      ...readFileSync(join(folder, name), "utf8").matchAll(/^import \{([^}]*)\} from "node:([^"]+)"/gm),
    ])
    .flatMap(([, names, module]) => names!.split(",").map((each) => [module!, each.trim().split(" ")[0]!] as const))
  assert.ok(used.length > 50, String(used.length))
  const late = used.filter(([module, name]) => {
    const versions = since(module, name)
    return versions.length > 0 && versions.every((version) => version > oldest)
  })
  assert.deepEqual(late, [])
})

test("the examples of docs/api.md run in an empty project", async () => {
  for (const [index, { program, prints }] of examples().entries()) {
    writeFileSync(join(project, `example-${index}.mts`), program)
    const { code, stdout, stderr } = await run(process.execPath, [`example-${index}.mts`], { cwd: project, env })
    assert.equal(code, 0, `${program}\n${stderr}`)
    assert.match(stdout, prints)
  }
})

test("its types are a TypeScript program's", async () => {
  const types = join(project, "node_modules/@types")
  mkdirSync(types, { recursive: true })
  if (!existsSync(join(types, "node"))) symlinkSync(join(root, "node_modules/@types/node"), join(types, "node"))
  const tsc = join(root, "node_modules/typescript/bin/tsc")
  const words = "--noEmit --strict --skipLibCheck --module nodenext --target es2022 --lib es2023,esnext.disposable,dom"
  const files = examples().map((_, index) => `example-${index}.mts`)
  const good = await run(process.execPath, [tsc, ...words.split(" "), "--types", "node", ...files], { cwd: project })
  assert.equal(good.code, 0, good.stdout)
  writeFileSync(
    join(project, "wrong.mts"),
    'import { open } from "tresor"\nawait open("disk.img", { passphrase: "a string" })\n',
  )
  const wrong = await run(process.execPath, [tsc, ...words.split(" "), "--types", "node", "wrong.mts"], {
    cwd: project,
  })
  assert.match(wrong.stdout, /Type 'string' is not assignable to type 'Uint8Array/)
})

test("its command opens what the library made", async () => {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }
  const command = join(project, "node_modules/.bin/tresor")
  const tresor = (args: readonly string[], input = "") => run(command, args, { cwd: project, env, input })
  assert.match((await tresor(["--version"])).stdout, new RegExp(version.replaceAll(".", "\\.")))
  const opened = await tresor(["open", "disk.img", "packed"], "battery staple")
  assert.equal(opened.code, 0, opened.stderr)
  assert.match(opened.stdout, /^nbd\+unix:/)
  assert.equal((await tresor(["close", "packed"])).code, 0)
})

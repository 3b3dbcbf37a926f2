#!/usr/bin/env node
/**
 * What `npm pack` and `npm publish` need beyond a build: lib/, the library as JavaScript and its types. Runs
 * as package.json's "prepack". Dependencies stay imports; what needs compiling (addon, launcher) is compiled
 * where the package is installed, by install.mjs.
 */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { isPinned, rerunPinned, root } from "./runtime.mjs"

const ENTRIES = {
  index: "src/index.ts",
  luks2: "src/luks2/index.ts",
  attest: "src/attest/judge/index.ts",
  nbd: "src/nbd/index.ts",
}

function run(...args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: ["ignore", 2, 2] })
  if (status !== 0) process.exit(status ?? 1)
}

process.chdir(root)
run("scripts/build.mjs")
if (!isPinned()) rerunPinned()

rmSync(join(root, "lib"), { recursive: true, force: true })
const { build } = await import("esbuild")
await build({
  absWorkingDir: root,
  entryPoints: ENTRIES,
  outdir: "lib",
  bundle: true,
  splitting: true,
  format: "esm",
  packages: "external",
  platform: "node",
  // What docs/api.md says of the library: `await using` is compiled.
  target: "node20",
  legalComments: "none",
  logLevel: "warning",
})
run("node_modules/typescript/bin/tsc", "-p", "tsconfig.library.json")

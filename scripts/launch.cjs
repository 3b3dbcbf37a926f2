/**
 * dist/NAME.cjs: runs NAME.bundle.cjs from V8's code of it, NAME.cache. V8 takes
 * that only under the version and flags it was made with, and compiles otherwise.
 */
"use strict"
const { readFileSync } = require("node:fs")
const { Script } = require("node:vm")

const path = __filename.slice(0, -".cjs".length)
const filename = `${path}.bundle.cjs`
let cachedData
try {
  cachedData = readFileSync(`${path}.cache`)
} catch {}
// The bundle is ASCII, as esbuild writes it; as Latin-1 nothing is decoded.
const script = new Script(readFileSync(filename, "latin1"), { filename, cachedData })
script.runInThisContext()(require, filename)

/** node scripts/cache.cjs BUNDLE CACHE: V8's code of all functions, for src/base/bundle.ts. */
"use strict"
const { readFileSync, writeFileSync } = require("node:fs")
const { setFlagsFromString } = require("node:v8")
const { Script } = require("node:vm")

const [, , bundle, cache] = process.argv
setFlagsFromString("--no-lazy")
const script = new Script(readFileSync(bundle, "latin1"), { filename: bundle })
// V8 compares flags when it takes the code: by then they are those of a plain start.
setFlagsFromString("--lazy")
writeFileSync(cache, script.createCachedData())

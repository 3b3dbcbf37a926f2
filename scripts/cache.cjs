/** node scripts/cache.cjs BUNDLE CACHE: V8's code of all functions, for src/base/bundle.ts. */
"use strict"
const { readFileSync, writeFileSync } = require("node:fs")
const { basename } = require("node:path")
const { setFlagsFromString } = require("node:v8")
const { Script } = require("node:vm")

const [, , bundle, cache] = process.argv
setFlagsFromString("--no-lazy")
// Without the folder, of which a part of the string would keep the whole: builds in two folders give the same code.
const filename = Buffer.from(basename(bundle)).toString("latin1")
const script = new Script(readFileSync(bundle, "latin1"), { filename })
// V8 compares flags when it takes the code: by then they are those of a plain start.
setFlagsFromString("--lazy")
writeFileSync(cache, script.createCachedData())

/**
 * The command line without launcher.c, which would refuse: for tests that trace
 * it. node unhardened.cjs WORDS…
 */
"use strict"
const { readFileSync } = require("node:fs")
const { createRequire } = require("node:module")
const { join } = require("node:path")
const { Script } = require("node:vm")

const program = join(__dirname, "../../dist/tresor.cjs")
const bundle = program.replace(/\.cjs$/, ".bundle.cjs")
const run = new Script(readFileSync(bundle, "latin1"), { filename: bundle }).runInThisContext()
run(createRequire(program), bundle).main(process.argv.slice(2), null)

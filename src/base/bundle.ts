/**
 * dist/NAME.cjs runs NAME.bundle.cjs from V8's code of it, NAME.cache. V8 takes
 * that only under the version and flags it was made with, and compiles otherwise.
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { Script } from "node:vm"
import { forbidEval } from "./no-eval.ts"

/** Runs the bundle of `program`, an absolute path of dist/NAME.cjs, and returns what it exports. Ends eval. */
export function runBundle(program: string): unknown {
  const path = program.slice(0, -".cjs".length)
  const filename = `${path}.bundle.cjs`
  let cachedData: Buffer | undefined
  try {
    cachedData = readFileSync(`${path}.cache`)
  } catch {
    // Compiled again, at the cost of some milliseconds.
  }
  // The bundle is ASCII, as esbuild writes it; as Latin-1 nothing is decoded.
  const script = new Script(readFileSync(filename, "latin1"), { filename, cachedData })
  forbidEval()
  const run = script.runInThisContext() as (require: NodeJS.Require, filename: string) => unknown
  return run(createRequire(program), filename)
}

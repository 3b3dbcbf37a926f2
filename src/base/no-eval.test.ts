import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { test } from "node:test"
import { fileURLToPath } from "node:url"

/** In a process of its own: what is forbidden stays so. */
function afterwards(expression: string): string {
  const module = JSON.stringify(fileURLToPath(new URL("no-eval.ts", import.meta.url)))
  const program = `import { forbidEval } from ${module}
    const before = Function
    forbidEval()
    try { console.log(String(${expression})) } catch (error) { console.log(error.name) }`
  const args = ["--input-type=module", "-e", program]
  return spawnSync(process.execPath, args, { encoding: "utf8" }).stdout.trim()
}

for (const way of [
  "eval('1')",
  "(0, eval)('1')",
  "Function('return 1')()",
  "new Function('return 1')()",
  "(() => {}).constructor('return 1')()",
  "(class {}).constructor('return 1')()",
  "(function* () {}).constructor('yield 1')",
  "(async () => {}).constructor('return 1')",
  "(async function* () {}).constructor('yield 1')",
  "Reflect.construct(Function, ['return 1'])()",
  "[].map.constructor('return 1')()",
])
  test(`${way} compiles nothing`, () => assert.equal(afterwards(way), "EvalError"))

test("everything else about functions is as it was", () => {
  assert.equal(afterwards("(() => {}) instanceof Function && (() => {}).constructor === Function"), "true")
  assert.equal(afterwards("Function.prototype === before.prototype && Function.name"), "Function")
  assert.equal(
    afterwards("(await import('node:util')).inspect([() => {}, async () => {}])"),
    "[ [Function (anonymous)], [AsyncFunction (anonymous)] ]",
  )
})

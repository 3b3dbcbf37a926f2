/** A passphrase is asked for under a shell: Ctrl-Z, fg and Ctrl-C leave the terminal usable. */
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

interface Step {
  readonly echo: boolean
  readonly shown: string
}

// The prompt is put together, so that the shell's echo of the command is not taken for it.
const ASK = `
  const { readPassphrase } = await import("./src/native/addon.ts")
  const bytes = await readPassphrase("Pass" + "phrase: ", 512, 30)
  console.log("length " + bytes.length)`

test("echo is off while asked and on whenever the shell has the terminal", { timeout: 60_000 }, async () => {
  const script = fileURLToPath(new URL("./terminal.py", import.meta.url))
  const command = [process.execPath, "--input-type=module", "-e", ASK.replaceAll("\n", ";")]
  const { stdout } = await promisify(execFile)("python3", [script, ...command], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  })
  const steps = JSON.parse(stdout) as Step[]
  const context = JSON.stringify(steps, null, 1)
  assert.deepEqual(
    steps.map((step) => step.echo),
    [false, true, false, true, false, true],
    context,
  )
  assert.match(steps[1]!.shown, /Stopped/, context)
  assert.match(steps[3]!.shown, /length 5\b/, context)
  // What was typed before Ctrl-Z or Ctrl-C is never shown.
  assert.ok(
    steps.every((step) => !step.shown.includes("half")),
    context,
  )
  assert.doesNotMatch(steps[5]!.shown, /length/, context)
})

import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { test } from "node:test"
import { fileURLToPath } from "node:url"

const module = JSON.stringify(fileURLToPath(new URL("interrupted.ts", import.meta.url)))

/** Runs `program`, sends it `signal` when it says "working", and returns what it said and how it ended. */
async function interrupt(signal: NodeJS.Signals, program: string): Promise<readonly [string, unknown]> {
  const text = `import { undoneWhenInterrupted } from ${module}
    const work = async () => {
      console.log("working")
      await new Promise((resolve) => setTimeout(resolve, 60_000))
    }
    ${program}`
  const args = ["--input-type=module", "-e", text]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  let said = ""
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk
    if (said.endsWith("working\n")) child.kill(signal)
  })
  const code = await new Promise((resolve) => child.on("close", (status, by) => resolve(by ?? status)))
  return [said, code]
}

const NESTED = `await undoneWhenInterrupted(() => console.log("outer"), () =>
  undoneWhenInterrupted(() => { console.log("inner"); throw new Error() }, work))`

for (const [signal, expected] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  test(`${signal}: what is half done is undone, the latest first, and the exit code says by what`, async () => {
    assert.deepEqual(await interrupt(signal, NESTED), ["working\ninner\nouter\n", expected])
  })
}

test("somebody else who listens ends the process, after the undoing", async () => {
  const listener = `process.once("SIGINT", () => setTimeout(() => { console.log("theirs"); process.exit(7) }, 50))`
  assert.deepEqual(await interrupt("SIGINT", `${listener}\n${NESTED}`), ["working\ninner\nouter\ntheirs\n", 7])
})

test("what is done stays", async () => {
  const done = `await undoneWhenInterrupted(() => console.log("undone"), async () => {}); await work()`
  assert.deepEqual(await interrupt("SIGINT", done), ["working\n", "SIGINT"])
})

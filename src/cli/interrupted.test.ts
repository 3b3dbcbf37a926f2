import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { test } from "node:test"
import { fileURLToPath } from "node:url"

const module = JSON.stringify(fileURLToPath(new URL("interrupted.ts", import.meta.url)))

for (const [signal, expected] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  test(`${signal}: what is half done is undone, and the exit code says by what`, async () => {
    const program = `import { undoneWhenInterrupted } from ${module}
      await undoneWhenInterrupted(() => console.log("undone"), async () => {
        console.log("working")
        await new Promise((resolve) => setTimeout(resolve, 60_000))
      })`
    const args = ["--import", "tsx", "--input-type=module", "-e", program]
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
    let said = ""
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk
      if (said === "working\n") child.kill(signal)
    })
    const code = await new Promise((resolve) => child.on("close", resolve))
    assert.equal(said, "working\nundone\n")
    assert.equal(code, expected)
  })
}

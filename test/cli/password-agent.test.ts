/** setkey --password-agent: a question that somebody answers in another way ends. */
import assert from "node:assert/strict"
import { chmodSync, existsSync, mkdirSync, readFileSync } from "node:fs"
import { test } from "node:test"
import { Place, until } from "./harness.ts"

const place = new Place()

/** In the place of systemd-ask-password: a question that nobody answers, until SIGTERM. */
function agents(name: string): { readonly env: NodeJS.ProcessEnv; readonly log: string } {
  const log = place.path(`${name}.log`)
  mkdirSync(place.path(name))
  const program = place.file(
    `${name}/systemd-ask-password`,
    `#!/bin/sh
trap 'echo withdrawn >>${log}; kill $!; exit 1' TERM
echo asked >>${log}
sleep 600 &
wait
`,
  )
  chmodSync(program, 0o755)
  return { env: { PATH: `${place.path(name)}:${process.env["PATH"]}` }, log }
}

const said = (log: string) => (existsSync(log) ? readFileSync(log, "utf8") : "")

test("the question is withdrawn when the volume is unlocked from elsewhere, which is success, or closed, which is none", async () => {
  const { path, keyFile } = await place.volume("disk.img")
  const { env, log } = agents("first")
  assert.equal((await place.tresor(["open", path, "work", "--locked", "--key-file", keyFile])).code, 0)
  const asking = place.tresor(["setkey", "work", "--password-agent"], { env })
  await until("it asks", () => said(log) === "asked\n", 60_000)
  assert.equal((await place.tresor(["setkey", "work", "--key-file", keyFile])).code, 0)
  assert.deepEqual(await asking, { code: 0, stdout: "", stderr: "" })
  await until("the question is withdrawn", () => said(log) === "asked\nwithdrawn\n", 60_000)
  // Unlocked, there is nothing to ask for.
  assert.equal((await place.tresor(["setkey", "work", "--password-agent"], { env })).code, 0)

  assert.equal((await place.tresor(["lock", "work"])).code, 0)
  const second = agents("second")
  const again = place.tresor(["setkey", "work", "--password-agent"], { env: second.env })
  await until("it asks again", () => said(second.log) === "asked\n", 60_000)
  assert.equal((await place.tresor(["close", "work"])).code, 0)
  const { code, stderr } = await again
  assert.equal(code, 4, stderr)
  assert.match(stderr, /^tresor: error: [^\n]*work[^\n]*\n$/)
  await until("the question is withdrawn", () => said(second.log) === "asked\nwithdrawn\n", 60_000)
})

/** Who connects in the very moment of a takeover looks again, and is not told of an impostor or a dead volume. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { connectTresord } from "./daemon.ts"
import { claimName, processStart, type RuntimePaths, releaseName, takeName } from "./runtime.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-daemon-"))
const root = join(folder, "run")
let paths: RuntimePaths
let server: Server
let other: ChildProcess

before(() => {
  process.env["TRESOR_RUNTIME_DIR"] = root
})
after(() => rmSync(folder, { recursive: true }))

/** The volume of this process, by state.json and socket. */
beforeEach(async () => {
  paths = claimName(root, "work", join(folder, "work.img"), false)
  server = createServer((socket) => socket.destroy()).listen(paths.control)
  await once(server, "listening")
  other = spawn("sleep", ["600"])
  await once(other, "spawn")
})
afterEach(async () => {
  other.kill("SIGKILL")
  server.close()
  releaseName(root, "work")
  rmSync(paths.directory, { recursive: true, force: true })
})

/** state.json names the other process. */
function nameOther(): void {
  const state = JSON.parse(readFileSync(paths.state, "utf8"))
  writeFileSync(paths.state, JSON.stringify({ ...state, pid: other.pid, startTime: processStart(other.pid!) }))
}

/** What connectTresord says, and how often it paused. */
async function connects(pause: (times: number) => void): Promise<number> {
  let times = 0
  const socket = await connectTresord("work", { pause: async () => pause(++times) })
  socket.destroy()
  return times
}

test("connect finds the tresord at once where nothing changes", async () => {
  assert.equal(await connects(() => {}), 0)
})

test("connect looks again when the socket is another's than state.json says, until both name the same", async () => {
  nameOther()
  assert.equal(await connects((times) => times === 3 && takeName(root, "work")), 3)
})

test("connect refuses a socket that stays another's, after five looks", async () => {
  nameOther()
  let pauses = 0
  const pause = async () => pauses++
  await assert.rejects(connectTresord("work", { pause }), { code: "IMPOSTOR", exitCode: 2 })
  assert.equal(pauses, 4)
})

test("connect looks again when the process of state.json has ended, and believes that only if nobody followed", async () => {
  nameOther()
  other.kill("SIGKILL")
  await once(other, "exit")
  assert.equal(await connects(() => takeName(root, "work")), 1)
  nameOther()
  let pauses = 0
  const pause = async () => pauses++
  await assert.rejects(connectTresord("work", { pause }), { code: "VOLUME_DEAD", exitCode: 4 })
  assert.equal(pauses, 1)
})

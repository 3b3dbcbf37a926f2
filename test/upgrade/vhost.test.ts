/**
 * A virtual machine's disk goes from tresord to tresord. The machine is bench/vhost's front-end, which checks every byte,
 * and for which a back-end that goes away is the end.
 */
import assert from "node:assert/strict"
import { once } from "node:events"
import { connect } from "node:net"
import { join } from "node:path"
import { test } from "node:test"
import { Place, until } from "../cli/harness.ts"
import { EndlessLoad, frontend } from "../vhost/programs.ts"
import { asked, closeWork, openWork, upgradeWith, upgradeWork } from "./harness.ts"

const place = new Place()
const socket = join(place.runtime, "work/vhost.sock")
const open = () => openWork(place, ["--vhost-user", "--allow-discards"])
const status = () => asked(place, (client) => client.status())
const written = async () => (await status()).counters["writes"]!

const upgrade = () => upgradeWork(place)
const close = () => closeWork(place)

/** By the process that serves the volume now. */
async function goesOn(load: EndlessLoad): Promise<void> {
  const before = await written()
  await until("more is written", async () => !load.running || (await written()) > before + 50, 60_000)
  assert.equal(load.running, true)
}

const TAKEOVERS = 5

for (const options of [
  ["--queues=4", "--regions=3", "--inflight"],
  ["--indirect", "--no-event-idx"],
])
  test(`takeovers under verified load: the front-end notices nothing ${options.join(" ")}`, async () => {
    await open()
    using load = new EndlessLoad(socket, ["--depth=16", ...options])
    await goesOn(load)
    const pids = new Set<number>()
    for (let n = 0; n < TAKEOVERS; n++) {
      await upgrade()
      await goesOn(load)
      pids.add(place.state("work").pid)
    }
    assert.equal(pids.size, TAKEOVERS)
    const { counters } = await status()
    assert.deepEqual([counters["connections"], counters["refused"], counters["errors"]], [1, 0, 0])
    const mixed = await load.end()
    assert.equal(mixed.reconnects, 0)
    assert.ok(mixed.compared > 1000, JSON.stringify(mixed))
    // Of all of them together.
    const { writes, discards, flushes } = (await status()).counters
    assert.deepEqual(
      { writes, discards, flushes },
      { writes: mixed.writes + mixed.zeroes, discards: mixed.discards, flushes: mixed.flushes },
    )
    await close()
  })

test("a successor that dies once it has something of the disk leaves the front-end with the tresord that had it", async () => {
  await open()
  const { pid } = place.state("work")
  using load = new EndlessLoad(socket, ["--depth=16", "--queues=2"])
  await goesOn(load)
  for (const step of ["frontEnd", "vhost", "ready", "go", "done"]) {
    await assert.rejects(upgradeWith(place, "die", step), { code: "UPGRADE_FAILED", exitCode: 4 }, step)
    await goesOn(load)
    assert.equal(place.state("work").pid, pid)
  }
  await upgrade()
  await goesOn(load)
  await load.end()
  await close()
})

test("a tresord that dies once all is handed over leaves the front-end with its successor", async () => {
  await open()
  const { pid } = place.state("work")
  using load = new EndlessLoad(socket, ["--depth=16"])
  await goesOn(load)
  await assert.rejects(upgradeWith(place, "orphan", "ready"), { code: "CONTROL_LOST" })
  await until("the successor has the name", () => place.state("work").pid !== pid, 60_000)
  await goesOn(load)
  await load.end()
  await close()
})

test("without a front-end the socket changes hands, for the next one", async () => {
  await open()
  await upgrade()
  const bytes = Buffer.alloc(8192, "next")
  assert.equal((await frontend(socket, ["write", "4096"], bytes)).code, 0)
  await upgrade()
  assert.deepEqual(Buffer.from((await frontend(socket, ["read", "4096", "8192"])).stdout), bytes)
  await close()
})

test("a front-end in the middle of a message holds a takeover up, and is named", async () => {
  await open()
  const { pid } = place.state("work")
  const half = connect(socket)
  await once(half, "connect")
  // VHOST_USER_GET_FEATURES, but for its flags and size.
  half.write(Buffer.from([1, 0, 0, 0]))
  await until("it is connected", async () => (await status()).counters["connections"] === 1)
  const stalled = await place.tresor(["upgrade", "work"])
  assert.equal(stalled.code, 5)
  assert.match(stalled.stderr, new RegExp(`\\(process ${process.pid}\\) stopped in the middle of a request`))
  assert.equal(place.state("work").pid, pid)
  half.destroy()
  await until("it has left", async () => (await status()).counters["connections"] === 0)
  await upgrade()
  await close()
})

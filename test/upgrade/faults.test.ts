/** A takeover that fails at any step leaves the volume with the tresord that had it; its clients notice nothing. */
import assert from "node:assert/strict"
import { once } from "node:events"
import { readFileSync, renameSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { test } from "node:test"
import { FileStore } from "../../src/store/file-store.ts"
import { anotherVersion } from "../cli/another-version.ts"
import { alive, Place, run, until } from "../cli/harness.ts"
import { asked, Load, nbdSocket, openWork, upgradeWith } from "./harness.ts"

const place = new Place()

/** The volume is `pid`'s, for old clients and new ones, and not open a second time. */
async function servedBy(pid: number, load: Load): Promise<void> {
  await load.goesOn()
  assert.equal(place.state("work").pid, pid)
  const status = await asked(place, (client) => client.status())
  assert.deepEqual([status.pid, status.state], [pid, "unlocked"])
  await using late = await Load.start(nbdSocket(place), 8 << 20, 2 << 20)
  await late.goesOn()
  await late.end()
}

/** Messages of a takeover: said by the successor, then heard. */
const STEPS = ["begins", "shows", "prepared", "ready", "done", "offer", "yields", "client", "nbd", "state", "go"]

test("a successor that dies, or closes the channel, at any step leaves the volume where it was", async () => {
  await openWork(place)
  const { pid } = place.state("work")
  await using load = await Load.start(nbdSocket(place), 0, 4 << 20)
  await load.goesOn()
  for (const step of STEPS) {
    await assert.rejects(upgradeWith(place, "die", step), { code: "UPGRADE_FAILED", exitCode: 4 }, step)
    await servedBy(pid, load)
  }
  for (const step of ["prepared", "done"]) {
    await assert.rejects(upgradeWith(place, "cut", step), { code: "UPGRADE_FAILED", exitCode: 4 }, step)
    await servedBy(pid, load)
  }
  // What cannot even be started.
  await assert.rejects(
    asked(place, (client) => client.call("Upgrade", { program: [place.path("nothing")] })),
    { code: "UPGRADE_FAILED", message: /^Cannot upgrade work: .*ENOENT.*; it is served as before$/ },
  )
  await servedBy(pid, load)
  // And then one that goes well, over the same connection.
  assert.equal((await place.tresor(["upgrade", "work"])).code, 0)
  await until("the old one has ended", () => !alive(pid), 60_000)
  await servedBy(place.state("work").pid, load)
  await load.end()
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

/** A child of that process is stopped. */
function hasStopped(pid: number): boolean {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")
  return children.some((child) => child !== "" && /^State:\s+T/m.test(readFileSync(`/proc/${child}/status`, "utf8")))
}

test("a successor that never answers is given up when its time is over, at any step, and the volume is served on", async () => {
  await openWork(place)
  await upgradeWith(place, "hasty")
  const { pid } = place.state("work")
  await using load = await Load.start(nbdSocket(place), 0, 4 << 20)
  await load.goesOn()
  for (const step of STEPS) {
    const message = "Cannot upgrade work: the new tresord was not ready in time; it is served as before"
    const expected = { code: "UPGRADE_FAILED", exitCode: 4, message }
    const refused = assert.rejects(upgradeWith(place, "hang", step), expected, step)
    await until(`it hangs at ${step}`, () => hasStopped(pid), 60_000)
    process.kill(pid, "SIGUSR2")
    await refused
    await servedBy(pid, load)
  }
  assert.equal((await place.tresor(["upgrade", "work"])).code, 0)
  await servedBy(place.state("work").pid, load)
  await load.end()
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

for (const step of ["ready", "go"])
  test(`a tresord that dies once all is handed over, at "${step}", is followed by its successor`, async () => {
    await openWork(place)
    const { pid } = place.state("work")
    await using load = await Load.start(nbdSocket(place), 0, 4 << 20)
    await load.goesOn()
    await assert.rejects(upgradeWith(place, "orphan", step), { code: "CONTROL_LOST" })
    await until("the successor has the name", () => place.state("work").pid !== pid, 60_000)
    await until("the old one is dead", () => !alive(pid), 60_000)
    await servedBy(place.state("work").pid, load)
    await load.end()
    assert.equal((await place.tresor(["close", "work"])).code, 0)
  })

test("a tresord that dies before that takes its successor with it, as a crash does", async () => {
  const { path, keyFile } = await openWork(place)
  const { pid } = place.state("work")
  await assert.rejects(upgradeWith(place, "orphan", "prepared"), { code: "CONTROL_LOST" })
  await until("it is dead", () => !alive(pid), 60_000)
  // Nobody has the store: the next one gets it.
  const reopens = async () => (await place.tresor(["open", path, "work", "--key-file", keyFile])).code === 0
  await until("the volume is free", reopens, 60_000)
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

test("a client in the middle of a request holds a takeover up, and is named", async () => {
  await openWork(place)
  const { pid } = place.state("work")
  const socket = createConnection(nbdSocket(place))
  socket.on("data", () => {})
  await once(socket, "connect")
  const u32 = (value: number) => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value])
  // Flags; NBD_OPT_GO of the default export; NBD_CMD_WRITE of 256 KiB at 8 MiB, and half of them.
  const go = Buffer.concat([u32(0), Buffer.alloc(2)])
  const option = [Buffer.from("IHAVEOPT"), u32(7), u32(go.length), go]
  const write = [
    u32(0x25609513),
    Buffer.from([0, 0, 0, 1]),
    Buffer.alloc(12),
    u32(8 << 20),
    u32(256 << 10),
    Buffer.alloc(128 << 10),
  ]
  socket.write(Buffer.concat([u32(3), ...option, ...write]))
  await until("half of it is written", async () => {
    const { counters } = await asked(place, (client) => client.status())
    return counters["bytesWritten"] === 128 << 10
  })
  await using load = await Load.start(nbdSocket(place), 0, 4 << 20)
  const stalled = await place.tresor(["upgrade", "work"])
  assert.equal(stalled.code, 5)
  assert.match(stalled.stderr, new RegExp(`\\(process ${process.pid}\\) stopped in the middle of a request`))
  await servedBy(pid, load)
  socket.destroy()
  assert.equal((await place.tresor(["upgrade", "work"])).code, 0)
  await servedBy(place.state("work").pid, load)
  await load.end()
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

test("the claim of the store has no gap, and outlasts the tresord that made it", async () => {
  const { path } = await openWork(place)
  const busy = () => assert.rejects(FileStore.open(path), { code: "STORE_BUSY" })
  let upgrading = true
  let tries = 0
  const tried = (async () => {
    for (; upgrading; tries++) await busy()
  })()
  const upgrades: number[] = []
  for (let n = 0; n < 3; n++) upgrades.push((await place.tresor(["upgrade", "work"])).code)
  upgrading = false
  await tried
  assert.deepEqual(upgrades, [0, 0, 0])
  assert.ok(tries > 0)
  await busy()
  assert.equal((await place.tresor(["close", "work"])).code, 0)
  await (await FileStore.open(path)).close()
})

test("the file that was opened stays the volume's when its path leads elsewhere", async () => {
  const { path, keyFile } = await openWork(place)
  await using load = await Load.start(nbdSocket(place), 0, 4 << 20)
  await load.goesOn()
  renameSync(path, `${path}.moved`)
  writeFileSync(path, "another file")
  assert.equal((await place.tresor(["upgrade", "work"])).code, 0)
  await load.goesOn()
  await load.end()
  assert.equal((await place.tresor(["close", "work"])).code, 0)
  assert.equal((await place.tresor(["open", `${path}.moved`, "work", "--key-file", keyFile])).code, 0)
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

test("a locked volume is refused, with the way out", async () => {
  await openWork(place)
  assert.equal((await place.tresor(["lock", "work"])).code, 0)
  const locked = await place.tresor(["upgrade", "work"])
  assert.equal(locked.code, 2)
  assert.match(locked.stderr, /^tresor: error: Cannot upgrade work: it is locked, .* `tresor setkey work` first/)
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

test("an enclave that the owner did not approve gets nothing; approved with a passphrase, it takes over", async () => {
  const other = await anotherVersion(place.path("other"))
  const { keyFile } = await openWork(place)
  const { pid } = place.state("work")
  await using load = await Load.start(nbdSocket(place), 0, 4 << 20)
  const theirs = (...more: readonly string[]) => run(other.tresor, ["upgrade", "work", ...more], { env: place.env })
  const refused = await theirs()
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /owner has not approved the new enclave; `tresor upgrade --approve` does/)
  await servedBy(pid, load)

  const wrong = await theirs("--approve", "--key-file", place.file("wrong", "wrong"))
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /No key available with this passphrase/)
  assert.equal((await theirs()).code, 2)
  await servedBy(pid, load)

  const approved = await theirs("--approve", "--key-file", keyFile)
  assert.deepEqual([approved.code, approved.stderr], [0, ""])
  const status = await asked(place, (client) => client.status())
  assert.equal(status.enclave.mrenclave, other.mrenclave)
  await servedBy(status.pid, load)
  // The way back is not approved with it.
  assert.equal((await place.tresor(["upgrade", "work"])).code, 2)
  await servedBy(status.pid, load)
  await load.end()
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

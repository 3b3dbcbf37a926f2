/** A volume whose data lie on an NBD server goes from tresord to tresord: with its claim, and with its lease. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { after, test } from "node:test"
import { NbdStore } from "../../src/store/nbd-store.ts"
import { Place, run, until } from "../cli/harness.ts"
import { asked, closeWork, Load, nbdSocket, upgradeWith, upgradeWork } from "./harness.ts"

const place = new Place()
const servers: ChildProcess[] = []
after(() => {
  for (const server of servers) server.kill("SIGKILL")
})

/** Opened as `work`, from an nbdkit that says this of its connections; where that listens. */
async function openRemote(multiConn: "auto" | "disable", more: readonly string[] = []): Promise<string> {
  const { path, keyFile } = await place.volume(`work-${servers.length}`)
  const socket = place.path(`store-${servers.length}.sock`)
  const words = ["--filter=multi-conn", "file", path, `multi-conn-mode=${multiConn}`]
  const server = spawn("nbdkit", ["--foreground", "--unix", socket, ...words], { stdio: "ignore" })
  servers.push(server)
  await until("nbdkit listens", () => existsSync(socket), 60_000)
  const opened = await place.tresor([
    ...["open", `nbd+unix:///?socket=${socket}`, "work", "--key-file", keyFile],
    ...more,
  ])
  assert.equal(opened.code, 0, opened.stderr)
  return socket
}

const upgrade = () => upgradeWork(place)
const close = () => closeWork(place)

const SERVERS = [
  { what: "one cache for all connections", multiConn: "auto", dieAt: ["nbd", "done"] },
  { what: "perhaps a cache for each connection", multiConn: "disable", dieAt: ["ready"] },
] as const

for (const { what, multiConn, dieAt } of SERVERS)
  test(`takeovers under load, from a server with ${what}: no connection ends, and the claim has no gap`, async () => {
    const socket = await openRemote(multiConn)
    await using load = await Load.start(nbdSocket(place), 0, 4 << 20)
    await load.goesOn()
    const claimed = () => NbdStore.open({ at: { path: socket }, exportName: "" })
    let upgrading = true
    let tries = 0
    const tried = (async () => {
      for (; upgrading; tries++) await assert.rejects(claimed(), { code: "STORE_BUSY" })
    })()
    for (let n = 0; n < 2; n++) {
      await upgrade()
      await load.goesOn()
    }
    upgrading = false
    await tried
    assert.ok(tries > 0)
    // Whoever asks learns of the one that has it now.
    const { pid } = place.state("work")
    await assert.rejects(claimed(), { message: new RegExp(`it is in use by .* \\(process ${pid}\\)`) })
    const failed = { code: "UPGRADE_FAILED", exitCode: 4 }
    for (const step of dieAt) {
      await assert.rejects(upgradeWith(place, "die", step), failed, step)
      await load.goesOn()
      await assert.rejects(claimed(), { message: new RegExp(`it is in use by .* \\(process ${pid}\\)`) }, step)
    }
    await load.end()
    await close()
    await (await claimed()).close()
  })

/** A lease in a file, whose calls are written down; with a file FOLDER/down it cannot be reached. */
const LEASE = `#!/bin/sh
exec 9>"$2/lock"; flock 9
echo "$1 $3" >>"$2/calls"
[ ! -e "$2/down" ] || { echo "nobody answers" >&2; exit 1; }
has=$(cat "$2/owner" 2>/dev/null)
case $1 in
acquire) [ -z "$has" ] || [ "$has" = "$3" ] || { echo "owner=$has"; exit 5; }; echo "$3" >"$2/owner" ;;
renew) [ "$has" = "$3" ] || exit 5 ;;
release) [ "$has" != "$3" ] || rm "$2/owner" ;;
esac
`

test("the lease goes on as the same owner's: no other host can take it, and a takeover that fails does not give it back", async () => {
  const program = place.file("lease", LEASE)
  await run("chmod", ["755", program])
  const folder = place.path("lease-of-work")
  await run("mkdir", [folder])
  await openRemote("auto", ["--lease", `${program}:${folder}`])
  await using load = await Load.start(nbdSocket(place), 0, 4 << 20)
  await load.goesOn()
  const leased = async () => (await asked(place, (client) => client.status())).lease!
  const { owner } = await leased()
  const other = () => run(program, ["acquire", folder, "far:1:0123456789abcdef", "60"])
  const calls = () => readFileSync(`${folder}/calls`, "utf8").split("\n")
  const ours = (action: string) => calls().filter((line) => line === `${action} ${owner}`).length

  let upgrading = true
  const tried = (async () => {
    while (upgrading) assert.equal((await other()).code, 5)
  })()
  await upgrade()
  await load.goesOn()
  await upgrade()
  await load.goesOn()
  assert.deepEqual([(await leased()).owner, (await leased()).state], [owner, "held"])
  const { pid } = place.state("work")
  await assert.rejects(upgradeWith(place, "die", "go"), { code: "UPGRADE_FAILED", exitCode: 4 })
  await load.goesOn()
  upgrading = false
  await tried
  place.file("lease-of-work/down", "")
  const refused = await place.tresor(["upgrade", "work"])
  assert.equal(refused.code, 4)
  assert.match(refused.stderr, /the lease .* cannot be taken: nobody answers/)
  rmSync(`${folder}/down`)
  await load.goesOn()
  assert.equal(place.state("work").pid, pid)
  assert.deepEqual([ours("acquire"), ours("fence"), ours("release")], [1, 1, 0])
  // One by each successor, and what its time has asked for.
  assert.ok(ours("renew") >= 4)

  await load.end()
  await close()
  assert.equal(ours("release"), 1)
  assert.equal((await other()).code, 0)
})

/** What a volume takes for transfers while it works, and gives back when it rests. Needs root. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { Place, until } from "../cli/harness.ts"

/** addon/disk/transfers.c: KEPT (a huge page), and the rest of TRANSFERS_MEMORY. */
const KEPT_KIB = 2048
const REST_KIB = 6144

const place = new Place()

/** KiB of the mappings of that size that are there, and locked. */
function resident(pid: number, size: number): number {
  const maps = readFileSync(`/proc/${pid}/smaps`, "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const number = (map: string, name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(map)?.[1])
  const found = maps.filter((map) => number(map, "Size") === size && / lo( |$)/m.test(map))
  assert.ok(found.length >= 1, `no locked mapping of ${size} KiB`)
  return Math.max(...found.map((map) => number(map, "Rss")))
}

test("memory for transfers is there to 2 MiB from the start; more comes with work and goes with rest", async () => {
  const { path, keyFile } = await place.volume("disk.img", "correct horse", ["--size", "128M"])
  assert.equal((await place.tresor(["open", path, "work", "--direct", "--key-file", keyFile])).code, 0)
  const { pid } = place.state("work")
  assert.equal(resident(pid, KEPT_KIB), KEPT_KIB)
  assert.equal(resident(pid, REST_KIB), 0)
  const uri = `nbd+unix:///?socket=${join(place.runtime, "work", "nbd.sock")}`
  let most = 0
  for (let n = 0; n < 20 && most <= KEPT_KIB; n++) {
    const args = ["--connections=4", "--requests=64", "--request-size=1048576", uri, "null:"]
    const copy = spawn("nbdcopy", args, { stdio: "inherit" })
    const left = once(copy, "exit")
    while (copy.exitCode === null && copy.signalCode === null) {
      most = Math.max(most, resident(pid, REST_KIB))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await left
    assert.equal(copy.exitCode, 0)
    // It stays for a second.
    most = Math.max(most, resident(pid, REST_KIB))
  }
  assert.ok(most > KEPT_KIB, `${most} KiB`)
  await until("the memory is given back", () => resident(pid, REST_KIB) === 0, 60_000)
  assert.equal(resident(pid, KEPT_KIB), KEPT_KIB)
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

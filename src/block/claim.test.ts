/** Of a file, which stands for a device: test/vm/checks/stores.sh has those, with stores that hang. */
import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, mock, test } from "node:test"
import { Claim, type Claimed, STALL_MS } from "./claim.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-claim-"))
after(() => rmSync(folder, { recursive: true }))

function device(ended = () => 0): Claimed {
  const path = join(folder, "device")
  writeFileSync(path, "data")
  return { name: "work", path, linear: null, ended }
}

test("what was written is synced; what keeps it from that is told", async () => {
  const claimed = device()
  const claim = await Claim.take(claimed, Promise.resolve())
  assert.equal(await claim.sync(), null)
  rmSync(claimed.path)
  assert.match((await claim.sync())!.message, /^sync: .*device/)
  await claim.close()
})

test("a close waits while anything ends, and is refused once nothing has for a minute", async () => {
  mock.timers.enable({ apis: ["setTimeout"] })
  try {
    let ended = 0
    let settled = false
    const taking = Claim.take(
      device(() => ended),
      new Promise(() => {}),
    ).finally(() => {
      settled = true
    })
    const refused = assert.rejects(taking, {
      code: "BLOCK_STALLED",
      exitCode: 4,
      message: /^Cannot close work: .* --force$/,
    })
    for (let n = 0; n < 3; n++) {
      ended++
      mock.timers.tick(STALL_MS)
      await new Promise(setImmediate)
      assert.equal(settled, false)
    }
    mock.timers.tick(STALL_MS)
    await refused
  } finally {
    mock.timers.reset()
  }
})

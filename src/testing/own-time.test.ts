import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { availableParallelism } from "node:os"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { ownTime } from "./own-time.ts"

test("waiting for a timer is time, waiting for a CPU that others have is not", async () => {
  const began = ownTime()
  await sleep(300)
  const slept = ownTime() - began
  assert.ok(slept > 200, `300 ms of sleep were ${slept}`)

  // Three more that want each CPU.
  const spinners = Array.from({ length: 3 * availableParallelism() }, () =>
    spawn("sh", ["-c", "while :; do :; done"], { stdio: "ignore" }),
  )
  try {
    await sleep(50)
    const [wall, own, used] = [performance.now(), ownTime(), process.cpuUsage()]
    const worked = () => {
      const { user, system } = process.cpuUsage(used)
      return user + system
    }
    while (worked() < 80_000);
    const [wallTook, ownTook] = [performance.now() - wall, ownTime() - own]
    assert.ok(wallTook > 1.5 * ownTook, `${ownTook} ms of our own in ${wallTook}`)
    assert.ok(ownTook > 40, `80 ms of work were ${ownTook}`)
  } finally {
    for (const each of spinners) each.kill("SIGKILL")
  }
})

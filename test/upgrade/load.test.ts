/** Fifty tresords, one after another, under fio's verification and a client of our own, which keep their connections. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { test } from "node:test"
import { TresorError } from "../../src/base/errors.ts"
import { connectVolume } from "../../src/control/daemon.ts"
import { Place } from "../cli/harness.ts"
import { asked, Load, nbdSocket, openWork } from "./harness.ts"

const place = new Place()
Object.assign(process.env, place.env)
const TAKEOVERS = 50
const FIO_BYTES = 12 << 20

/** Asks for the status again and again; who is asked while it leaves says no more. How often there was an answer. */
async function lookUntil(over: () => boolean): Promise<number> {
  let answers = 0
  while (!over()) {
    try {
      using client = await connectVolume("work")
      answers += (await client.status()).state === "unlocked" ? 1 : 0
    } catch (error) {
      if (!(error instanceof TresorError && error.code === "CONTROL_LOST")) throw error
    }
  }
  return answers
}

test("fifty takeovers under load: no connection ends, nothing is lost, every byte is counted", async () => {
  await openWork(place)
  await using load = await Load.start(nbdSocket(place), FIO_BYTES, 4 << 20)
  const fio = spawn(
    "fio",
    [
      ...["--name=verify", "--ioengine=nbd", `--uri=nbd+unix:///?socket=${nbdSocket(place)}`],
      ...["--rw=randrw", "--bsrange=4k-256k", `--size=${FIO_BYTES}`, "--io_size=100G", "--iodepth=16"],
      ...["--verify=crc32c", "--verify_backlog=64", "--verify_fatal=1", "--time_based", "--runtime=1200"],
      ...["--rate_iops=400", "--output-format=json", `--aux-path=${place.folder}`],
    ],
    { cwd: place.folder },
  )
  const said: Buffer[] = []
  fio.stdout.on("data", (chunk: Buffer) => said.push(chunk))
  const ended = once(fio, "close")
  await load.goesOn()
  const since = (await asked(place, (client) => client.status())).since
  const pids = new Set<number>()
  let over = false
  const looks = lookUntil(() => over)
  for (let n = 0; n < TAKEOVERS; n++) {
    const upgraded = await place.tresor(["upgrade", "work"])
    assert.deepEqual([upgraded.code, upgraded.stderr], [0, ""])
    pids.add(place.state("work").pid)
    if (n % 10 === 0) await load.goesOn()
  }
  await load.goesOn()
  over = true
  assert.ok((await looks) > TAKEOVERS)
  assert.equal(pids.size, TAKEOVERS)
  await load.end()
  assert.equal(fio.exitCode, null)
  fio.kill("SIGINT")
  await ended
  const text = Buffer.concat(said).toString()
  const [job] = JSON.parse(text.slice(text.indexOf("{"))).jobs
  assert.equal(job.error, 0)
  assert.ok(job.write.total_ios > TAKEOVERS && job.read.total_ios > TAKEOVERS)
  const status = await asked(place, (client) => client.status())
  // The same volume as ever: its age, and the sum of what all of them served.
  assert.equal(status.since, since)
  assert.equal(status.counters["errors"], 0)
  assert.ok(status.counters["bytesWritten"]! > job.write.io_bytes)
  assert.ok(status.counters["bytesRead"]! > job.read.io_bytes)
  const closed = await place.tresor(["close", "work"])
  assert.equal(closed.code, 0, closed.stderr)
})

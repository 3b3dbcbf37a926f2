/** Fifty tresords, one after another, under fio's verification and a client of our own, which keep their connections. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { test } from "node:test"
import { Place } from "../cli/harness.ts"
import { asked, Load, nbdSocket, openWork } from "./harness.ts"

const place = new Place()
const TAKEOVERS = 50
const FIO_BYTES = 12 << 20

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
  for (let n = 0; n < TAKEOVERS; n++) {
    const upgraded = await place.tresor(["upgrade", "work"])
    assert.deepEqual([upgraded.code, upgraded.stderr], [0, ""])
    pids.add(place.state("work").pid)
    if (n % 10 === 0) await load.goesOn()
  }
  await load.goesOn()
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

/** As root: a disk that stops answering. What waits for it waits, and nothing else does; when it is back, nothing is lost. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { NbdClient } from "../../src/nbd/client.ts"
import { Place } from "../cli/harness.ts"
import { Nbdkit } from "../store/nbdkit.ts"
import { KIB, KINDS, MIB, nameOf, Opened, outcome, stop, uncache, withFuse } from "./harness.ts"

const place = new Place()
/** What FUSE believes of a file without asking again. */
const ATTRIBUTES_MS = 1100

/** Who hangs with the disk does so no longer than this, and then the test fails. */
const RESCUE_MS = 60_000

const other = await place.volume("other")
assert.equal((await place.tresor(["open", other.path, "other", "--key-file", other.keyFile])).code, 0)

for (const kind of KINDS) {
  const { engine, direct } = kind
  test(`${nameOf(kind)}: while a disk hangs, status, lock, setkey and other volumes do not; afterwards nothing is lost`, async () => {
    const { path, keyFile } = await place.volume(`hung-${engine}-${direct}`)
    const nbdkit = new Nbdkit(place.folder, "file", path)
    await nbdkit.start()
    let rescue: NodeJS.Timeout | undefined
    await withFuse(place, nbdkit.socket, async (disk, nbdfuse) => {
      try {
        const volume = await Opened.open(place, disk, keyFile, kind)
        const { client } = volume
        const bytes = randomBytes(8 * MIB)
        await client.write(0, bytes)
        await client.flush()
        await uncache(disk)
        await stop(nbdfuse)
        rescue = setTimeout(() => process.kill(nbdfuse, "SIGCONT"), RESCUE_MS)
        const began = performance.now()
        const reads = Array.from({ length: 16 }, async (_, n) => {
          const read = await client.read(n * 64 * KIB, 64 * KIB)
          assert.ok(read.equals(bytes.subarray(n * 64 * KIB, (n + 1) * 64 * KIB)))
        })
        randomBytes(4 * MIB).copy(bytes, 4 * MIB)
        const writes = Array.from({ length: 16 }, (_, n) => {
          const at = 4 * MIB + n * 256 * KIB
          return client.write(at, bytes.subarray(at, at + 256 * KIB), { fua: n % 4 === 0 })
        })
        const outcomes = Promise.all([...reads, ...writes].map(outcome))
        await sleep(ATTRIBUTES_MS)

        const status = await volume.status()
        assert.deepEqual(status.silentPaths, [disk])
        assert.ok(status.disk!.underWay >= (engine === "threads" ? 8 : 16), JSON.stringify(status.disk))
        assert.match((await place.tresor(["status", volume.name])).stdout, /does not answer: its filesystem waits for/)
        assert.match((await place.tresor(["list"])).stdout, /faulty +unlocked/)
        const busy = await place.tresor(["close", volume.name])
        assert.equal(busy.code, 5, busy.stderr)
        const locked = await place.tresor(["lock", volume.name])
        assert.equal(locked.code, 0, locked.stderr)
        assert.equal((await volume.status()).state, "locked")

        await using elsewhere = await NbdClient.connect(`${place.runtime}/other/nbd.sock`)
        await elsewhere.write(0, bytes.subarray(0, MIB))
        await elsewhere.flush()
        // Who has it is looked for among the files of all processes.
        const env = { TRESOR_RUNTIME_DIR: place.path("elsewhere") }
        const third = await place.tresor(["open", other.path, "third", "--key-file", other.keyFile], { env })
        assert.equal(third.code, 5, third.stderr)
        assert.match(third.stderr, /tresord/)

        assert.ok(performance.now() - began < RESCUE_MS, "something hung with the disk")
        process.kill(nbdfuse, "SIGCONT")
        const unlocked = await place.tresor(["setkey", volume.name, "--key-file", keyFile])
        assert.equal(unlocked.code, 0, unlocked.stderr)
        assert.deepEqual([...new Set(await outcomes)], ["done"])
        await client.flush()
        assert.ok((await client.read(0, bytes.length)).equals(bytes))
        const { disk: after, silentPaths } = await volume.status()
        assert.deepEqual([after!.underWay, after!.stranded, after!.failed, silentPaths], [0, 0, null, []])
        assert.deepEqual(await volume.close(), { code: 0, stdout: "", stderr: "" })
      } finally {
        clearTimeout(rescue)
        process.kill(nbdfuse, "SIGCONT")
      }
    })
    await nbdkit.kill()
  })
}

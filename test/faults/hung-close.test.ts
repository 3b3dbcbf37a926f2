/** As root: a disk that stops answering and never comes back, under a volume that is closed. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { Place } from "../cli/harness.ts"
import { Nbdkit } from "../store/nbdkit.ts"
import { KIB, KINDS, type Kind, MIB, nameOf, Opened, outcome, stop, withFuse } from "./harness.ts"

/** Who hangs with the disk does so no longer than this, and then the test fails: 10 s for requests, 60 s for a flush. */
const RESCUE_MS = 200_000

async function closed(place: Place, kind: Kind): Promise<void> {
  const { path, keyFile } = await place.volume("disk")
  const nbdkit = new Nbdkit(place.folder, "file", path)
  await nbdkit.start()
  const serve = withFuse(place, nbdkit.socket, async (disk, nbdfuse) => {
    const bytes = randomBytes(MIB)
    const volume = await Opened.open(place, disk, keyFile, kind)
    const { client } = volume
    await client.write(0, bytes)
    await client.flush()
    await stop(nbdfuse)
    let rescued = false
    const rescue = setTimeout(() => {
      rescued = true
      process.kill(nbdfuse, "SIGCONT")
    }, RESCUE_MS)
    try {
      const requests = [
        client.read(8 * MIB, 64 * KIB),
        client.write(MIB, bytes),
        client.write(4 * MIB, bytes, { fua: true }),
      ]
      const outcomes = Promise.all(requests.map(outcome))
      // The process has ended, too.
      const { code, stderr } = await volume.close("--force")
      assert.ok(!rescued, "something hung with the disk")
      assert.equal(code, 4)
      assert.match(stderr, /wiped its keys, but data may be lost: the store did not flush within 60 s/)
      for (const each of await outcomes) assert.notEqual(each, "done")
    } finally {
      clearTimeout(rescue)
      process.kill(nbdfuse, "SIGCONT")
    }
    const again = await Opened.open(place, disk, keyFile, kind)
    assert.ok((await again.client.read(0, MIB)).equals(bytes))
    assert.equal((await again.close()).code, 0)
  })
  await serve.finally(() => nbdkit.kill())
}

const places = KINDS.map((kind) => ({ kind, place: new Place() }))

// Side by side: each waits for a minute and more.
test("a volume whose disk hangs for good is closed in bounded time, and its process ends", async () => {
  const results = await Promise.allSettled(places.map(({ kind, place }) => closed(place, kind)))
  results.forEach((result, n) => {
    if (result.status === "rejected") throw new Error(nameOf(KINDS[n]!), { cause: result.reason })
  })
})

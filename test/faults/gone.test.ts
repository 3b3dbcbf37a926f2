/** As root: stores that end early, shrink, lose their server or are detached, under an open volume. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { statSync, truncateSync } from "node:fs"
import { test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { Nbdkit } from "../store/nbdkit.ts"
import { KIB, KINDS, letGo, MIB, nameOf, Opened, outcome, uncache, withFuse } from "./harness.ts"

const place = new Place()
/** Of the volume; its data begin at 16 MiB. */
const BYTES = 16 * MIB
const HEADER = 16 * MIB

async function succeeds(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args)
  assert.equal(code, 0, `${command} ${args.join(" ")}: ${stderr}`)
  return stdout.trim()
}

/** Requests past `end`, and across it, have no other outcome. */
async function pastEnd({ client }: Opened, end: number): Promise<string[]> {
  const ranges = [
    [end, 4 * KIB],
    [end + 1 * MIB, MIB],
    [end - 4 * KIB, 8 * KIB],
    [BYTES - 100, 50],
  ] as const
  const outcomes = await Promise.all(
    ranges.flatMap(([offset, length]) => [
      outcome(client.read(offset, length)),
      outcome(client.write(offset, randomBytes(length))),
      outcome(client.write(offset, randomBytes(length), { fua: true })),
    ]),
  )
  return [...new Set(outcomes)].sort()
}

for (const kind of KINDS) {
  const { engine, direct } = kind
  test(`${nameOf(kind)}: what a truncated file has lost ends in EIO and does not come back; the rest goes on`, async () => {
    const { path, keyFile } = await place.volume(`truncated-${engine}-${direct}`)
    const volume = await Opened.open(place, path, keyFile, kind)
    const { client } = volume
    const bytes = randomBytes(BYTES)
    await client.write(0, bytes)
    await client.flush()
    const left = 5 * MIB
    truncateSync(path, HEADER + left)
    assert.deepEqual(await pastEnd(volume, left), ["EIO"])
    assert.equal(statSync(path).size, HEADER + left)
    randomBytes(MIB).copy(bytes)
    await client.write(0, bytes.subarray(0, MIB))
    // A FUA write past the cache that failed may have been a sync that failed, but not where nothing was begun.
    await client.flush()
    assert.ok((await client.read(0, left - 4 * KIB)).equals(bytes.subarray(0, left - 4 * KIB)))
    const { disk, state } = await volume.status()
    assert.deepEqual([state, disk!.failed, disk!.underWay], ["unlocked", null, 0])
    assert.deepEqual(await volume.close(), { code: 0, stdout: "", stderr: "" })
  })

  test(`${nameOf(kind)}: a loop device whose file is truncated, and which then shrinks: EIO, and tresord lives`, async () => {
    const { path, keyFile } = await place.volume(`backing-${engine}-${direct}`)
    const device = await succeeds("losetup", "--find", "--show", path)
    try {
      const volume = await Opened.open(place, device, keyFile, kind)
      const { client } = volume
      const bytes = randomBytes(BYTES)
      await client.write(0, bytes)
      await client.flush()
      await uncache(device)
      const left = 5 * MIB
      truncateSync(path, HEADER + left)
      const lost = [left + MIB, left + 2 * MIB, left + 3 * MIB]
      // The device is as large as before; its driver has an error.
      const reads = await Promise.all(lost.map((offset) => outcome(client.read(offset, 64 * KIB))))
      assert.deepEqual(reads, ["EIO", "EIO", "EIO"])
      assert.equal(await outcome(client.write(left + 4 * MIB + 5, randomBytes(10))), "EIO")
      await succeeds("losetup", "--set-capacity", device)
      // Linux's answer to a write past the end of a device.
      assert.deepEqual(await pastEnd(volume, left), ["EIO", "ENOSPC"])
      assert.ok((await client.read(0, left - 4 * KIB)).equals(bytes.subarray(0, left - 4 * KIB)))
      await client.write(0, bytes.subarray(0, MIB))
      const { disk, state } = await volume.status()
      assert.deepEqual([state, disk!.underWay], ["unlocked", 0])
      await volume.close()
      assert.equal(statSync(path).size, HEADER + left)
    } finally {
      await letGo(place)
      await succeeds("losetup", "--detach", device)
    }
  })

  test(`${nameOf(kind)}: a loop device that is detached stays until the volume is closed`, async () => {
    const { path, keyFile } = await place.volume(`detached-${engine}-${direct}`)
    const device = await succeeds("losetup", "--find", "--show", path)
    const volume = await Opened.open(place, device, keyFile, kind)
    const { client } = volume
    await succeeds("losetup", "--detach", device)
    const bytes = randomBytes(MIB)
    await client.write(0, bytes)
    await client.flush()
    await uncache(device)
    assert.ok((await client.read(0, MIB)).equals(bytes))
    assert.deepEqual(await volume.close(), { code: 0, stdout: "", stderr: "" })
    assert.notEqual((await run("losetup", [device])).code, 0)
    const again = await Opened.open(place, path, keyFile, kind)
    assert.ok((await again.client.read(0, MIB)).equals(bytes))
    assert.equal((await again.close()).code, 0)
  })

  test(`${nameOf(kind)}: a filesystem whose server dies: EIO for everything, no FLUSH succeeds, and close ends`, async () => {
    const { path, keyFile } = await place.volume(`served-${engine}-${direct}`)
    const nbdkit = new Nbdkit(place.folder, "file", path)
    await nbdkit.start()
    try {
      await withFuse(place, nbdkit.socket, async (disk, nbdfuse) => {
        const volume = await Opened.open(place, disk, keyFile, kind)
        const { client } = volume
        const bytes = randomBytes(MIB)
        await client.write(0, bytes)
        await client.flush()
        await uncache(disk)
        await nbdkit.stop()
        const requests = [client.read(4 * MIB, 64 * KIB), client.read(0, 4 * KIB), client.write(8 * MIB, bytes)]
        const waiting = requests.map(outcome)
        process.kill(nbdfuse, "SIGKILL")
        assert.deepEqual([...new Set(await Promise.all(waiting))], ["EIO"])
        assert.equal(await outcome(client.read(0, 4 * KIB)), "EIO")
        assert.equal(await outcome(client.write(0, bytes)), "EIO")
        assert.equal(await outcome(client.flush()), "EIO")
        const { state, disk: status } = await volume.status()
        assert.equal(state, "unlocked")
        assert.equal(status!.underWay, 0)
        assert.notEqual(status!.failed, null)
        const closed = await volume.close()
        assert.equal(closed.code, 4)
        assert.match(closed.stderr, /data may be lost/)
      })
    } finally {
      nbdkit.continue()
      await nbdkit.kill()
    }
    // What was flushed is there.
    const again = await Opened.open(place, path, keyFile, kind)
    assert.equal((await again.client.read(0, MIB)).length, MIB)
    assert.equal((await again.close()).code, 0)
  })
}

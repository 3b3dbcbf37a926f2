/** As root, for FUSE: a disk with nbdkit's error and delay filters, seen as a file and as an NBD store. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { rmSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { Place } from "../cli/harness.ts"
import { Nbdkit } from "../store/nbdkit.ts"
import { KIB, KINDS, type Kind, MIB, Model, nameOf, Opened, outcome, uncache, withFuse } from "./harness.ts"

const place = new Place()
const BYTES = 4 * MIB
const [reading, writing] = [place.path("reads-fail"), place.path("writes-fail")]
const { path: image, keyFile } = await place.volume("image")

type Errors = { readonly [what in "read" | "write"]: { readonly errno: string; readonly percent: number } }

/** `body` gets the path that `tresor open` gets, and what drops the store's pages. */
async function onFaulty(
  kind: Kind | null,
  { read, write }: Errors,
  body: (path: string, drop: () => Promise<void>) => Promise<void>,
): Promise<void> {
  // Requests are under way together, and each fails after it has waited.
  const faults = ["--filter=delay", "--filter=error", "file", image, "delay-read=3ms", "delay-write=3ms"]
  const of = (what: string, { errno, percent }: Errors["read"], file: string) => [
    `error-${what}=${errno}`,
    `error-${what}-rate=${percent}%`,
    `error-${what}-file=${file}`,
  ]
  const nbdkit = new Nbdkit(place.folder, ...faults, ...of("pread", read, reading), ...of("pwrite", write, writing))
  await nbdkit.start()
  try {
    if (kind === null) await body(`nbd+unix:///?socket=${nbdkit.socket}`, async () => {})
    else await withFuse(place, nbdkit.socket, (path) => body(path, () => uncache(path)))
  } finally {
    for (const fault of [reading, writing]) rmSync(fault, { force: true })
    await nbdkit.kill()
  }
}

const NEVER = { errno: "EIO", percent: 0 }
const STORES: readonly (Kind | null)[] = [...KINDS, null]
const ANY: Kind = { engine: "io_uring", direct: false }

for (const kind of STORES) {
  const name = kind === null ? "an NBD store" : nameOf(kind)

  test(`${name}: every request of a disk that fails has the disk's errno, and goes on when the disk does`, () =>
    onFaulty(
      kind,
      { read: { errno: "EIO", percent: 100 }, write: { errno: "ENOSPC", percent: 100 } },
      async (path, drop) => {
        const volume = await Opened.open(place, path, keyFile, kind ?? ANY)
        const { client } = volume
        const model = new Model(BYTES, 1)
        await model.fill(client)

        await drop()
        writeFileSync(reading, "")
        const ranges = [
          [0, 4 * KIB],
          [64 * KIB, 128 * KIB],
          [MIB, MIB],
          [2 * MIB + 5, 1000],
        ] as const
        const reads = await Promise.all(ranges.map(([offset, length]) => outcome(client.read(offset, length))))
        assert.deepEqual(reads, ["EIO", "EIO", "EIO", "EIO"])
        // A part of a sector, which is read first.
        assert.equal(await outcome(client.write(3 * MIB + 5, randomBytes(10))), "EIO")
        rmSync(reading)
        await model.verify(client)

        writeFileSync(writing, "")
        const bytes = randomBytes(MIB)
        const writes = await Promise.all([
          ...ranges.map(([offset, length]) => outcome(client.write(offset, bytes.subarray(0, length)))),
          outcome(client.write(3 * MIB, bytes.subarray(0, 4 * KIB), { fua: true })),
          outcome(client.writeZeroes(3 * MIB + 64 * KIB, 64 * KIB)),
        ])
        assert.deepEqual(writes, ["ENOSPC", "ENOSPC", "ENOSPC", "ENOSPC", "ENOSPC", "ENOSPC"])
        rmSync(writing)
        // Nothing of them was written by the disk, nor is in a cache.
        await model.verify(client)
        await model.fill(client)
        const status = await volume.status()
        if (kind !== null) assert.deepEqual([status.disk!.underWay, status.disk!.failed], [0, null])
        assert.deepEqual(await volume.close(), { code: 0, stdout: "", stderr: "" })
      },
    ))

  test(`${name}: of a disk that fails every fifth request, what is acknowledged is there`, () =>
    onFaulty(
      kind,
      { read: { errno: "EIO", percent: 20 }, write: { errno: "ENOSPC", percent: 20 } },
      async (path, drop) => {
        const volume = await Opened.open(place, path, keyFile, kind ?? ANY)
        const lanes = 12
        const model = new Model(BYTES, lanes)
        await model.fill(volume.client)
        const clients = [volume.client, await volume.connect(), await volume.connect()]
        for (const fault of [reading, writing]) writeFileSync(fault, "")
        const errors: string[] = []
        await Promise.all(
          Array.from({ length: lanes }, async (_, lane) => {
            const client = clients[lane % clients.length]!
            for (let n = 0; n < 12; n++) {
              if (lane === 0) await drop()
              errors.push(...(await model.write(client, lane, n % 4 === 3)))
              errors.push(...(await model.read(client, lane)))
            }
          }),
        )
        for (const fault of [reading, writing]) rmSync(fault)
        assert.ok(errors.length > 10, `${errors.length} errors`)
        assert.deepEqual([...new Set(errors)].sort(), ["EIO", "ENOSPC"])
        await model.verify(volume.client)
        await volume.client.flush()
        for (const client of clients.slice(1)) await client[Symbol.asyncDispose]()
        assert.deepEqual(await volume.close(), { code: 0, stdout: "", stderr: "" })

        const again = await Opened.open(place, path, keyFile, kind ?? ANY)
        await model.verify(again.client)
        assert.equal((await again.close()).code, 0)
      },
    ))
}

for (const engine of ["io_uring", "threads"] as const) {
  test(`${engine}, direct: a FUA write that fails may be a sync that failed, so no write is accepted any more`, () =>
    onFaulty({ engine, direct: true }, { read: NEVER, write: { errno: "EIO", percent: 100 } }, async (path) => {
      const volume = await Opened.open(place, path, keyFile, { engine, direct: true })
      const { client } = volume
      const bytes = randomBytes(64 * KIB)
      await client.write(0, bytes)
      writeFileSync(writing, "")
      // Without FUA it was no sync.
      assert.equal(await outcome(client.write(MIB, bytes)), "EIO")
      assert.equal((await volume.status()).disk!.failed, null)
      assert.equal(await outcome(client.write(MIB, bytes, { fua: true })), "EIO")
      rmSync(writing)
      assert.equal(await outcome(client.flush()), "EIO")
      assert.equal(await outcome(client.write(MIB, bytes)), "EIO")
      assert.equal(await outcome(client.write(MIB + 5, bytes, { fua: true })), "EIO")
      assert.ok((await client.read(0, bytes.length)).equals(bytes))
      assert.equal((await volume.status()).disk!.failed, "EIO")
      const { code, stderr } = await volume.close()
      assert.equal(code, 4)
      assert.match(stderr, /data may be lost: a flush of .* failed \(EIO\)/)
    }))
}

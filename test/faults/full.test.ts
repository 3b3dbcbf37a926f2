/** As root: a volume on a filesystem that is full, and on a device whose own store is full, which writeback finds out. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { closeSync, mkdirSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { KINDS, letGo, MIB, nameOf, Opened, outcome } from "./harness.ts"

const place = new Place()

async function succeeds(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args)
  assert.equal(code, 0, `${command} ${args.join(" ")}: ${stderr}`)
  return stdout.trim()
}

/** A filesystem of 64 MiB; `fill` leaves it no room, `free` gives the room back. */
async function onSmallFilesystem(body: (room: { fill(): void; free(): void }) => Promise<void>): Promise<void> {
  const image = place.path("small")
  const folder = place.path("mounted")
  writeFileSync(image, "")
  truncateSync(image, 64 * MIB)
  await succeeds("mkfs.ext4", "-q", "-F", image)
  mkdirSync(folder, { recursive: true })
  await succeeds("mount", "-o", "loop", image, folder)
  const filler = join(folder, "filler")
  try {
    await body({
      fill() {
        const fd = openSync(filler, "a")
        try {
          for (const length of [MIB, 4096]) {
            const zeros = Buffer.alloc(length)
            try {
              for (;;) writeSync(fd, zeros)
            } catch (error) {
              assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC")
            }
          }
        } finally {
          closeSync(fd)
        }
      },
      free: () => rmSync(filler),
    })
  } finally {
    await letGo(place)
    await succeeds("umount", "--lazy", folder)
  }
}

for (const kind of KINDS) {
  test(`${nameOf(kind)}: a sparse volume on a full filesystem: writes that need room end in ENOSPC, all others go on`, () =>
    onSmallFilesystem(async (room) => {
      const { path, keyFile } = await place.volume(join("mounted", "disk"))
      const volume = await Opened.open(place, path, keyFile, kind)
      const { client } = volume
      const bytes = randomBytes(4 * MIB)
      await client.write(0, bytes)
      await client.flush()
      room.fill()
      const refused = await Promise.all([
        ...Array.from({ length: 16 }, (_, n) => outcome(client.write(8 * MIB + n * 4096, bytes.subarray(0, 4096)))),
        outcome(client.write(9 * MIB, bytes.subarray(0, MIB))),
        outcome(client.write(11 * MIB + 5, bytes.subarray(0, 100))),
        outcome(client.write(12 * MIB, bytes.subarray(0, 4096), { fua: true })),
        outcome(client.writeZeroes(13 * MIB, 64 << 10)),
      ])
      assert.deepEqual([...new Set(refused)], ["ENOSPC"])
      // What has its blocks is written in place.
      randomBytes(2 * MIB).copy(bytes)
      await client.write(0, bytes.subarray(0, 2 * MIB))
      await client.flush()
      assert.ok((await client.read(0, bytes.length)).equals(bytes))
      const { disk, state } = await volume.status()
      assert.deepEqual([state, disk!.underWay, disk!.failed], ["unlocked", 0, null])

      room.free()
      await client.write(8 * MIB, bytes)
      await client.flush()
      for (const at of [0, 8 * MIB]) assert.ok((await client.read(at, bytes.length)).equals(bytes))
      assert.deepEqual(await volume.close(), { code: 0, stdout: "", stderr: "" })
    }))

  test(`${nameOf(kind)}: a device whose store is full: nothing that is lost was ever flushed, and no FLUSH succeeds again`, () =>
    onSmallFilesystem(async (room) => {
      const { path: file, keyFile } = await place.volume(join("mounted", "disk"))
      const device = await succeeds("losetup", "--find", "--show", file)
      try {
        const volume = await Opened.open(place, device, keyFile, kind)
        const { client } = volume
        const bytes = randomBytes(MIB)
        await client.write(0, bytes)
        await client.flush()
        room.fill()
        const written = await outcome(client.write(4 * MIB, bytes))
        const flushed = await outcome(client.flush())
        if (kind.direct) {
          // Told at once, and nothing before it is in doubt.
          assert.deepEqual([written, flushed], ["ENOSPC", "done"])
        } else {
          // The cache took it, and lost it; why, Linux does not tell of a device.
          assert.deepEqual([written, flushed], ["done", "EIO"])
          room.free()
          for (const each of [
            await outcome(client.flush()),
            await outcome(client.write(0, bytes)),
            await outcome(client.write(0, bytes, { fua: true })),
            await outcome(client.writeZeroes(0, MIB)),
          ])
            assert.equal(each, "EIO")
          assert.equal((await volume.status()).disk!.failed, "EIO")
          const { stdout } = await place.tresor(["status", volume.name])
          assert.match(stdout, /a flush failed \(EIO\): what was written before it may be lost/)
        }
        assert.ok((await client.read(0, MIB)).equals(bytes))
        const closed = await volume.close()
        assert.equal(closed.code, kind.direct ? 0 : 4)
        if (!kind.direct) {
          assert.match(closed.stderr, /data may be lost: a flush of .* failed \(EIO\).*check the filesystem/)
          const again = await Opened.open(place, device, keyFile, kind)
          await again.client.write(4 * MIB, bytes)
          await again.client.flush()
          for (const at of [0, 4 * MIB]) assert.ok((await again.client.read(at, MIB)).equals(bytes))
          assert.equal((await again.close()).code, 0)
        }
      } finally {
        await letGo(place)
        await succeeds("losetup", "--detach", device)
      }
    }))
}

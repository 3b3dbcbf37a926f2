/**
 * Power cuts in the middle of `tresor reencrypt`: the program writes to a disk of QEMU's that logs every write and flush,
 * and for each cut the disk is what was durable at that moment.
 */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { decodeHeader } from "../../src/luks2/header.ts"
import { reencryptionOf } from "../../src/luks2/reencryption.ts"
import { decryptXts } from "../../src/testing/luks.ts"
import { Place, run } from "../cli/harness.ts"
import { replayDurable } from "../vm/power-cut.ts"
import { CHEAP } from "./programs.ts"

const place = new Place()
const SIZE = 12 << 20
const OFFSET = 4 << 20
const CUTS = 20
const keyFile = place.file("key", "a passphrase")
const REENCRYPT = ["reencrypt", "-q", "--key-file", keyFile, ...CHEAP, "--hotzone-size", "2M"]

async function ok(command: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await run(command, args, { env: place.env })
  assert.equal(code, 0, `${command} ${args.join(" ")}: ${stderr}`)
}

async function ours(...args: string[]): Promise<void> {
  const { code, stderr } = await place.tresor(args)
  assert.equal(code, 0, `tresor ${args.join(" ")}: ${stderr}`)
}

/** The disk as a file, while `work` runs; every write and flush is in the log, after those that are there. */
async function logged(
  image: string,
  log: string,
  append: boolean,
  work: (path: string) => Promise<void>,
): Promise<void> {
  const path = place.file("disk", "")
  const node = `driver=blklogwrites,node-name=disk,file.driver=file,file.filename=${image},log.driver=file,log.filename=${log}`
  const block = `${node},${append ? "log-append=on" : "log-sector-size=512"}`
  const serve = `type=fuse,id=disk,node-name=disk,mountpoint=${path},writable=on,growable=off`
  const daemon = spawn("qemu-storage-daemon", ["--blockdev", block, "--export", serve], { stdio: "inherit" })
  const ended = once(daemon, "exit")
  try {
    while (statSync(path).size !== SIZE) {
      assert.equal(daemon.exitCode, null, "qemu-storage-daemon ended")
      await delay(20)
    }
    await work(path)
  } finally {
    daemon.kill("SIGTERM")
    await ended
  }
}

/** Entries in a log; with `cut`, only so many of them count. */
function entriesOf(log: Buffer, cut?: number): number {
  if (cut !== undefined) log.writeBigUInt64LE(BigInt(cut), 16)
  return Number(log.readBigUInt64LE(16))
}

async function plaintext(path: string): Promise<{ readonly text: Buffer; readonly key: Buffer }> {
  const file = place.path(`key-${randomBytes(4).toString("hex")}`)
  await ok("cryptsetup", "luksDump", "-q", "--dump-volume-key", "--volume-key-file", file, "--key-file", keyFile, path)
  const bytes = readFileSync(path)
  const { metadata } = await decodeHeader(bytes.subarray(0, OFFSET))
  assert.equal(reencryptionOf(metadata), null)
  const key = readFileSync(file)
  return { text: decryptXts(key, metadata.segments.get(0)!.sectorSize, 0n, bytes.subarray(OFFSET)), key }
}

for (const resilience of ["checksum", "journal"]) {
  test(`the power fails at ${CUTS} moments, resilience ${resilience}: nothing is lost`, async () => {
    const volume = place.file("volume.img", randomBytes(SIZE))
    const sizes = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "2080768", "--offset", String(OFFSET / 512)]
    await ok(
      "cryptsetup",
      "luksFormat",
      "-q",
      ...CHEAP,
      ...sizes,
      "--sector-size",
      "512",
      "--key-file",
      keyFile,
      volume,
    )
    const before = await plaintext(volume)

    const [image, log] = [place.file("image", ""), place.file("log", "")]
    truncateSync(image, SIZE)
    const copy = (path: string) => ok("dd", `if=${volume}`, `of=${path}`, "bs=1M", "conv=notrunc,fsync", "status=none")
    await logged(image, log, false, copy)
    const first = entriesOf(readFileSync(log))
    await logged(image, log, true, (path) => ours(...REENCRYPT, "--resilience", resilience, path))
    const whole = readFileSync(log)
    const last = entriesOf(whole)
    assert.ok(last - first > 3 * CUTS, `${last - first} writes and flushes`)

    let [pending, lost] = [0, 0]
    for (let n = 0; n <= CUTS; n++) {
      entriesOf(whole, first + Math.round(((last - first) * n) / CUTS))
      const [cutLog, disk] = [place.path("log.cut"), place.path("disk.cut")]
      writeFileSync(cutLog, whole)
      lost += replayDurable(cutLog, disk, SIZE).lost
      const { metadata } = await decodeHeader(readFileSync(disk).subarray(0, OFFSET)).catch(async () => {
        // The first copy was torn: the second one counts.
        await ours("check", "--repair", "-q", disk)
        return decodeHeader(readFileSync(disk).subarray(0, OFFSET))
      })
      const isPending = reencryptionOf(metadata) !== null
      pending += isPending ? 1 : 0
      if (isPending || (await plaintext(disk)).key.equals(before.key)) await ours(...REENCRYPT, disk)
      const after = await plaintext(disk)
      assert.ok(after.text.equals(before.text), `cut ${n}: the data are others`)
      assert.ok(!after.key.equals(before.key), `cut ${n}: the key is the old one`)
    }
    assert.ok(pending > CUTS / 2 && lost > 0, `${pending} pending, ${lost} writes lost`)
  })
}

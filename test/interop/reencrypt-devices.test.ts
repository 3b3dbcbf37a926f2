/**
 * Reencryption of block devices, with blocks of 512 and of 4096 bytes, and of a file behind FUSE: each of them lives
 * through every kind of it, killed in the middle, and cryptsetup reads what comes of it.
 */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { decryptXts } from "../../src/testing/luks.ts"
import { alive, Place, run, tresorPath, until } from "../cli/harness.ts"
import { withFuse } from "../faults/harness.ts"
import { content, Load } from "./load.ts"
import { isInZone, metadataOf, whereIn } from "./pass.ts"
import { CHEAP, programs } from "./programs.ts"

const place = new Place()
const SIZE = 12 << 20
/** What an encryption in place takes for its header, and a decryption gives back. */
const REDUCED = 4 << 20
const DATA = SIZE - REDUCED
const WAIT = 120_000
const noise = randomBytes(SIZE)
const keyFile = place.file("key", "a passphrase")
const { ours, volumeKey, cut, checkSound } = programs(place, keyFile)

const KEY = ["-q", "--key-file", keyFile]
const NEW = ["reencrypt", ...KEY, "--hotzone-size", "512K", ...CHEAP]
const ENCRYPT = [...NEW, "--encrypt", "--reduce-device-size", "4M", "--portable", "--no-recovery"]
const RESUME = ["reencrypt", ...KEY, "--resume", "--hotzone-size", "2M"]
/** A pass takes eight seconds, and is killed long before its end. */
const SLOW = ["--throttle", "1"]

/** What it printed. */
async function system(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args)
  assert.equal(code, 0, `${command} ${args.join(" ")}: ${stderr}`)
  return stdout
}

const onLoop =
  (blockSize: number) =>
  async (use: (path: string, image: string) => Promise<void>): Promise<void> => {
    const image = place.file(`loop-${blockSize}.img`, noise)
    const attach = ["--find", "--show", "--sector-size", String(blockSize), image]
    const device = (await system("losetup", ...attach)).trim()
    try {
      assert.equal((await system("blockdev", "--getss", device)).trim(), String(blockSize))
      await use(device, image)
    } finally {
      await run("losetup", ["--detach", device])
    }
  }

async function behindFuse(use: (path: string) => Promise<void>): Promise<void> {
  const socket = place.path("nbdkit.sock")
  const server = spawn("nbdkit", ["--foreground", "--unix", socket, "memory", String(SIZE)], { stdio: "ignore" })
  const ended = once(server, "exit")
  try {
    const uri = `nbd+unix:///?socket=${socket}`
    await until("nbdkit serves", async () => (await run("nbdinfo", ["--size", uri])).code === 0, WAIT)
    await withFuse(place, socket, async (path) => {
      writeFileSync(path, noise, { flag: "r+" })
      await use(path)
    })
  } finally {
    server.kill()
    await ended
  }
}

/** The command is killed in a zone; then it goes on to its end. `size`: bytes of the volume. */
async function throughKill(
  words: readonly string[],
  { header, size }: { readonly header: string; readonly size: number },
  resume: readonly string[],
): Promise<void> {
  const ready = () => isInZone(header, size, 1 << 20)
  assert.ok(await cut([tresorPath, ...words, ...SLOW], "SIGKILL", ready), "it had ended")
  const found = await whereIn(header, size)
  assert.ok(found !== null && !found.done, "nothing is pending")
  await checkSound(header)
  await ours(...resume)
}

/** No reencryption is pending; the key and the plaintext, as cryptsetup has them. */
async function endedAt(path: string): Promise<{ readonly key: Buffer; readonly plain: Buffer }> {
  await checkSound(path)
  await ours("check", path)
  const { config, segments } = await metadataOf(path)
  assert.deepEqual([config.requirements, segments.size], [[], 1])
  const { sectorSize, offset } = segments.get(0)!
  const key = await volumeKey(path)
  return { key, plain: decryptXts(key, sectorSize, 0n, readFileSync(path).subarray(Number(offset))) }
}

/** Open and written to all the time; tresord is killed in the pass. What is there at the end. */
async function newKeyInUse(path: string, name: string, plain: Buffer): Promise<Buffer> {
  const open = async () => {
    const { socket } = JSON.parse(await ours("open", path, name, "--key-file", keyFile, "--json"))
    return socket as string
  }
  const status = async () =>
    JSON.parse(await ours("status", name, "--json")) as {
      readonly pid: number
      readonly reencryption: { readonly state: string; readonly done: number } | null
    }
  let uri = await open()
  let load = new Load(plain, uri, false)
  const begun = place.tresor([...NEW, ...SLOW, name])
  await until(
    "zones are converted",
    async () => {
      const { reencryption } = await status()
      return reencryption?.state === "running" && reencryption.done > 0 && load.requests > 20
    },
    WAIT,
  )
  const { pid } = await status()
  await load.cut(() => process.kill(pid, "SIGKILL"))
  await until("it is gone", () => !alive(pid), WAIT)
  assert.notEqual((await begun).code, 0)
  await checkSound(path)
  uri = await open()
  assert.equal((await status()).reencryption?.state, "paused")
  load.settle(await content(uri))
  load = new Load(load.model, uri, false)
  await ours(...RESUME, name)
  await load.stop()
  assert.ok(load.model.equals(await content(uri)))
  await ours("close", name)
  return load.model
}

const PLACES = [
  ["loop-512", "a block device of 512-byte blocks", onLoop(512)],
  ["loop-4096", "a block device of 4096-byte blocks", onLoop(4096)],
  ["fuse", "a file behind FUSE", behindFuse],
] as const

for (const [name, what, on] of PLACES)
  test(`${what} is encrypted in place, gets a new key, one more in use, and is decrypted: killed in each, nothing is lost`, () =>
    on(async (path) => {
      await throughKill([...ENCRYPT, path], { header: path, size: DATA }, [...RESUME, path])
      const encrypted = await endedAt(path)
      assert.ok(encrypted.plain.subarray(0, DATA).equals(noise.subarray(0, DATA)), "the data are others")

      const size = encrypted.plain.length
      await throughKill([...NEW, path], { header: path, size }, [...RESUME, path])
      const moved = await endedAt(path)
      assert.ok(moved.plain.equals(encrypted.plain), "the data are others")
      assert.ok(!moved.key.equals(encrypted.key), "the key is the old one")

      const written = await newKeyInUse(path, name, Buffer.from(moved.plain))
      const used = await endedAt(path)
      assert.ok(used.plain.equals(written), "the data are others")
      assert.ok(!used.key.equals(moved.key), "the key is the old one")

      const header = place.path(`${name}.header`)
      const apart = ["--header", header]
      const decrypt = ["reencrypt", ...KEY, "--decrypt", "--hotzone-size", "512K", ...apart, path]
      await throughKill(decrypt, { header, size }, [...RESUME, ...apart, path])
      assert.ok(readFileSync(path).subarray(0, size).equals(written), "the data are others")
      assert.notEqual((await run("cryptsetup", ["isLuks", path])).code, 0)
    }))

test("a block device that is read-only, of another size than at the start, or mounted is refused, and nothing is written", () =>
  onLoop(512)(async (path, image) => {
    const refused = async (words: readonly string[], exit: number, message: RegExp) => {
      const before = readFileSync(path)
      const { code, stderr } = await place.tresor(words)
      assert.equal(code, exit, stderr)
      assert.match(stderr, message)
      assert.ok(before.equals(readFileSync(path)), "something was written")
    }
    const resize = async (size: number) => {
      truncateSync(image, size)
      await system("losetup", "--set-capacity", path)
    }
    await system("blockdev", "--setro", path)
    await refused([...ENCRYPT, path], 1, /it is write-protected/)
    await system("blockdev", "--setrw", path)
    await ours(...ENCRYPT, path)
    const pending = async () => (await whereIn(path, DATA)) !== null
    assert.ok(await cut([tresorPath, ...NEW, ...SLOW, path], "SIGTERM", pending), "it had ended")
    for (const size of [SIZE + (1 << 20), SIZE - (1 << 20)]) {
      await resize(size)
      await refused([...RESUME, path], 4, /the volume had \d+ bytes when it began and has \d+ now/)
    }
    await resize(SIZE)
    await ours(...RESUME, path)
    await endedAt(path)
    // Last: other mount namespaces may have copies of the mount, and the device stays busy with them.
    await system("mkfs.ext4", "-q", "-F", path, "8M")
    const directory = place.path("mounted")
    mkdirSync(directory)
    await system("mount", "-o", "ro,noload", path, directory)
    try {
      await refused([...ENCRYPT, path], 5, /it is mounted or used by another program/)
    } finally {
      await system("umount", directory)
    }
  }))

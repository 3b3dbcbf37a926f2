/** Reencryption of an open volume over NBD, under a load that knows what it wrote; and beside stock cryptsetup. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { decodeHeader } from "../../src/luks2/header.ts"
import { reencryptionOf } from "../../src/luks2/reencryption.ts"
import { positionOf } from "../../src/luks2/reencryption-position.ts"
import { decryptXts } from "../../src/testing/luks.ts"
import { alive, Place, until } from "../cli/harness.ts"
import { content, Load } from "./load.ts"
import { CHEAP, programs } from "./programs.ts"

const place = new Place()
const DATA = 20 << 20
const OFFSET = 4 << 20
const keyFile = place.file("key", "a passphrase")
const REENCRYPT = ["reencrypt", "-q", "--key-file", keyFile, ...CHEAP, "--hotzone-size", "512K"]
const WAIT = 120_000

const { ours, stock, volumeKey } = programs(place, keyFile)

/** A volume that cryptsetup made. */
async function volume(name: string, ...more: string[]): Promise<string> {
  const path = place.file(name, randomBytes(OFFSET + DATA))
  const small = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "2080768", "--offset", String(OFFSET / 512)]
  await stock("luksFormat", "-q", "--type", "luks2", ...CHEAP, ...small, "--key-file", keyFile, ...more, path)
  return path
}

const headerOf = async (path: string) => decodeHeader(readFileSync(path).subarray(0, OFFSET))

async function plaintext(path: string): Promise<Buffer> {
  const { metadata } = await headerOf(path)
  return decryptXts(
    await volumeKey(path),
    metadata.segments.get(0)!.sectorSize,
    0n,
    readFileSync(path).subarray(OFFSET),
  )
}

interface Status {
  readonly state: string
  readonly pid: number
  /** Bytes. */
  readonly keySize: number
  readonly keyslot: number | null
  readonly reencryption: { readonly state: string; readonly done: number; readonly total: number } | null
}
const statusOf = async (name: string) => JSON.parse(await ours("status", name, "--json")) as Status

/** The socket of its NBD server. */
async function opened(path: string, name: string, ...more: string[]): Promise<string> {
  const { socket } = JSON.parse(await ours("open", path, name, "--key-file", keyFile, "--json", ...more))
  return socket
}

/** The command, under way; resolves when it has ended. */
const begin = (...args: string[]) => place.tresor([...REENCRYPT, ...args])

const running = (name: string, share = 0) =>
  until(
    "the reencryption runs",
    async () => {
      const { reencryption } = await statusOf(name)
      return reencryption?.state === "running" && reencryption.done > share * reencryption.total
    },
    WAIT,
  )

for (const [kind, options, more, keySize] of [
  ["512-byte sectors, checksums, a shorter key", ["--sector-size", "512"], ["--key-size", "256"], 32],
  ["4096-byte sectors, a journal", ["--sector-size", "4096"], ["--resilience", "journal"], 64],
] as const) {
  test(`an open volume gets a new key under load: ${kind}`, async () => {
    const path = await volume("load.img", ...options)
    const oldKey = await volumeKey(path)
    const uri = await opened(path, "load", "--allow-discards")
    const load = new Load(await content(uri), uri, true)
    const said = await ours(...REENCRYPT, ...more, "--hotzone-size", "2M", "load")
    assert.equal(said, "All data of load are under the new volume key.\n")
    await load.stop()
    assert.ok(load.requests > 50, `${load.requests} requests`)
    assert.ok(load.model.equals(await content(uri)), "the data are others")
    const status = await statusOf("load")
    assert.deepEqual([status.reencryption, status.keyslot, status.keySize], [null, 1, keySize])
    // With the new key alone it is a volume as any other.
    await ours("upgrade", "load")
    assert.ok(load.model.equals(await content(uri)), "another tresord has other data")
    await ours("close", "load")
    assert.ok(!oldKey.equals(await volumeKey(path)), "the key is the old one")
    assert.ok(load.model.equals(await plaintext(path)), "cryptsetup's key decrypts other data")
    const { metadata } = await headerOf(path)
    assert.deepEqual([metadata.config.requirements, metadata.segments.size, metadata.digests.size], [[], 1, 1])
  })
}

test("tresord killed in the pass under load, again and again: nothing acknowledged is lost, and it goes on", async () => {
  const path = await volume("killed.img", "--sector-size", "4096")
  let uri = await opened(path, "killed")
  const whole = await content(uri)
  let command = begin("--throttle", "1", "--key-size", "256", "killed")
  for (const share of [0.1, 0.3, 0.5]) {
    await running("killed", share)
    const load = new Load(whole, uri, false)
    await until("the load runs", () => load.requests > 20, WAIT)
    const { pid } = await statusOf("killed")
    await load.cut(() => process.kill(pid, "SIGKILL"))
    await until("it is gone", () => !alive(pid), WAIT)
    assert.notEqual((await command).code, 0)
    const again = await place.tresor(["open", path, "killed", "--key-file", keyFile, "--json"])
    assert.match(
      again.stderr,
      /^The reencryption of killed is pending: .* of 20 MiB are under the new key; .* goes on\.$/m,
    )
    uri = JSON.parse(again.stdout).socket
    const { state, reencryption, keyslot, keySize } = await statusOf("killed")
    // Keyslot and size of the key that stays.
    assert.deepEqual([state, reencryption?.state, keyslot, keySize], ["unlocked", "paused", 1, 32])
    load.settle(await content(uri))
    // The pass takes twenty seconds, so that it is killed long before its end; the last one ends by itself.
    const slow = share < 0.5 ? ["--throttle", "1"] : []
    const resume = ["reencrypt", "--resume", "--key-file", keyFile, "--hotzone-size", "512K", ...slow, "killed"]
    command = place.tresor(resume)
  }
  const { code, stderr } = await command
  assert.equal(code, 0, stderr)
  assert.ok(whole.equals(await content(uri)))
  await ours("close", "killed")
  assert.ok(whole.equals(await plaintext(path)))
})

test("it is paused by --pause, lock, close and SIGTERM, and stock cryptsetup ends what an open volume left", async () => {
  const path = await volume("paused.img")
  const uri = await opened(path, "paused")
  const load = new Load(await content(uri), uri, false)
  const first = begin("--throttle", "1", "paused")
  await running("paused", 0.05)
  assert.match(
    await ours("reencrypt", "--pause", "paused"),
    /^The reencryption of paused is paused: [\d.]+ MiB of 20 MiB/,
  )
  const ended = await first
  assert.equal(ended.code, 1)
  assert.match(
    ended.stderr,
    /^tresor: error: Reencryption of paused paused: .*`tresor reencrypt --resume paused` goes on$/m,
  )
  await load.stop()
  assert.match(
    await ours("status", "paused"),
    /^reencryption: +paused, [\d.]+ MiB of 20 MiB under the new key; `tresor reencrypt --resume paused` goes on$/m,
  )
  assert.match(await ours("list"), /^paused +unlocked, reencryption paused \d+ % /m)
  const metrics = await ours("metrics")
  assert.match(metrics, /^tresor_volume_reencryption_running\{name="paused",user="\d+"\} 0$/m)
  assert.match(metrics, /^tresor_volume_reencryption_done_bytes\{name="paused",user="\d+"\} \d+$/m)
  // Both keys at once.
  assert.ok(load.model.equals(await content(uri)))

  const resume = () =>
    place.tresor([
      "reencrypt",
      "--resume",
      "--key-file",
      keyFile,
      "--throttle",
      "1",
      "--hotzone-size",
      "256K",
      "paused",
    ])
  const second = resume()
  await running("paused", 0.1)
  await ours("lock", "paused")
  assert.equal((await second).code, 1)
  assert.deepEqual((await statusOf("paused")).state, "locked")
  const wrong = place.file("wrong", "another")
  assert.equal((await place.tresor(["setkey", "paused", "--key-file", wrong])).code, 2)
  await ours("setkey", "paused", "--key-file", keyFile)
  assert.ok(load.model.equals(await content(uri)))

  const third = resume()
  await running("paused", 0.2)
  const { pid } = await statusOf("paused")
  process.kill(pid, "SIGTERM")
  await until("it is gone", () => !alive(pid), WAIT)
  assert.notEqual((await third).code, 0)

  const { metadata } = await headerOf(path)
  const where = positionOf(metadata, reencryptionOf(metadata)!)
  assert.ok(typeof where !== "string" && where.hot === 0n && where.position > 0n, "it lies between two zones")
  // The open volume's header was bound to the data again: one of before is found out.
  const dump = await stock("luksDump", path)
  assert.match(dump, /online-reencrypt-v2/)
  await stock("reencrypt", "-q", "--key-file", keyFile, "--force-offline-reencrypt", "--resume-only", path)
  assert.ok(load.model.equals(await plaintext(path)), "cryptsetup ended it with other data")
})

test("what stock cryptsetup began is opened with both keys, and goes on while it is open", async () => {
  const path = await volume("stock.img")
  const before = await plaintext(path)
  await stock("reencrypt", "-q", "--key-file", keyFile, "--init-only", ...CHEAP, path)
  const uri = await opened(path, "stock")
  assert.ok(before.equals(await content(uri)))
  await ours("reencrypt", "--resume", "--key-file", keyFile, "stock")
  assert.ok(before.equals(await content(uri)))
  await ours("close", "stock")
  assert.ok(before.equals(await plaintext(path)))
})

test("a passphrase starts it, and what cannot be done while it is open is refused before anything is written", async () => {
  const path = await volume("refused.img", "--sector-size", "512")
  await opened(path, "refused")
  const before = readFileSync(path)
  const refused = async (code: number, words: RegExp, ...args: string[]) => {
    const result = await place.tresor(["reencrypt", "-q", ...CHEAP, ...args])
    assert.equal(result.code, code, result.stderr)
    assert.match(result.stderr, words)
    assert.ok(before.equals(readFileSync(path)))
  }
  await refused(2, /No key available/, "--key-file", place.file("wrong", "x"), "refused")
  await refused(
    4,
    /it is open, and those who use it know its sector size/,
    "--sector-size",
    "4096",
    "--key-file",
    keyFile,
    "refused",
  )
  await refused(1, /no reencryption is pending/, "--resume", "--key-file", keyFile, path)
  await refused(1, /no reencryption is pending/, "--pause", "refused")
  await ours("close", "refused")
  await opened(path, "refused", "--readonly")
  await refused(
    4,
    /Cannot reencrypt refused while it is open: it is open read-only; close it first/,
    "--key-file",
    keyFile,
    "refused",
  )
  await ours("close", "refused")
  await refused(1, /it is not open/, "--pause", path)
})

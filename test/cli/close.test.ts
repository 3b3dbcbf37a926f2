/** close of a volume that is in use: refused as cryptsetup refuses, forced, or later. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { HeaderStore } from "../../src/header/header-store.ts"
import { openFile } from "../../src/header/open.ts"
import { isLuksKeyslot } from "../../src/keyslots/metadata-edit.ts"
import { NbdClient } from "../../src/nbd/client.ts"
import { alive, Place, until } from "./harness.ts"

const place = new Place()
const directory = place.path("mnt")
let path = ""
let key: string[] = []

before(async () => {
  mkdirSync(directory)
  const made = await place.volume("disk.img")
  path = made.path
  key = ["--key-file", made.keyFile]
})

const socket = () => join(place.runtime, "work", "nbd.sock")
const open = async () => {
  const opened = await place.tresor(["open", path, "work", ...key])
  assert.equal(opened.code, 0, opened.stderr)
  return place.state("work").pid
}

test("close with a client connected: exit 5, names it, and everything goes on", async () => {
  const pid = await open()
  const page = randomBytes(4096)
  {
    await using client = await NbdClient.connect(socket())
    await client.write(0, page)
    const refused = await place.tresor(["close", "work"])
    assert.equal(refused.code, 5)
    assert.match(
      refused.stderr,
      new RegExp(
        `^tresor: error: Cannot close work: it is still in use by \\S+ \\(process ${process.pid}\\);[^\n]*--force[^\n]*\n$`,
      ),
    )
    assert.ok((await client.read(0, 4096)).equals(page))
    assert.equal((await place.tresor(["close", "work", "--force", "--deferred"])).code, 1)
  }
  assert.ok(alive(pid))
  assert.equal((await place.tresor(["close", "work"])).code, 0)
  assert.ok(!alive(pid))
})

test("close --force ends the client's connection, and what it was told is written is there", async () => {
  await open()
  const page = randomBytes(4096)
  const client = await NbdClient.connect(socket())
  await client.write(8192, page)
  assert.equal((await place.tresor(["close", "work", "--force"])).code, 0)
  await client.ended
  await open()
  {
    await using again = await NbdClient.connect(socket())
    assert.ok((await again.read(8192, 4096)).equals(page))
  }
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

test("close --deferred returns at once, serves on, and closes when the last client leaves", async () => {
  const pid = await open()
  const [one, two] = [await NbdClient.connect(socket()), await NbdClient.connect(socket())]
  assert.equal((await place.tresor(["close", "work", "--deferred"])).code, 0)
  await one[Symbol.asyncDispose]()
  await two.write(0, randomBytes(4096))
  assert.ok(alive(pid))
  await two[Symbol.asyncDispose]()
  await until("tresord to end", () => !alive(pid))
  assert.deepEqual(place.names(), [])
})

test("close of a mounted volume: exit 5, names the directory, and no write is lost", async () => {
  const mounted = await place.tresor(["mount", path, directory, "--name", "work", "--mkfs", "ext4", ...key])
  assert.equal(mounted.code, 0, mounted.stderr)
  const refused = await place.tresor(["close", "work"])
  assert.equal(refused.code, 5)
  assert.match(refused.stderr, /^tresor: error: [^\n]*mounted on [^\n]*tresor umount [^\n]*\n$/)
  writeFileSync(join(directory, "note"), "kept")
  assert.equal((await place.tresor(["umount", directory])).code, 0)
  assert.equal((await place.tresor(["mount", path, directory, "--name", "work", ...key])).code, 0)
  assert.equal(readFileSync(join(directory, "note"), "utf8"), "kept")
  assert.equal((await place.tresor(["umount", directory])).code, 0)
})

test("close names somebody else's NBD client", async () => {
  await open()
  const image = place.path("fuse")
  mkdirSync(image)
  const fuse = spawn("nbdfuse", [join(image, "disk"), `nbd+unix:///?socket=${socket()}`], { stdio: "ignore" })
  const connections = async () =>
    JSON.parse((await place.tresor(["status", "work", "--json"])).stdout).counters.connections as number
  await until("nbdfuse to connect", async () => (await connections()) > 0)
  const refused = await place.tresor(["close", "work"])
  assert.equal(refused.code, 5)
  assert.match(refused.stderr, /in use by nbdfuse \(process \d+\)/)
  fuse.kill("SIGINT")
  await new Promise((resolve) => fuse.once("exit", resolve))
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

test("close during a long KDF does not wait for its end", async () => {
  const slow = await place.volume("slow.img", "passphrase", ["--portable"])
  const device = await openFile(slow.path, { readOnly: false })
  const store = await HeaderStore.open(device)
  // Half a minute and more, and below what is tried only when named.
  await store.update(async (header) => {
    const keyslots = new Map(
      [...header.metadata.keyslots].map(([slot, each]) => {
        if (!isLuksKeyslot(each) || each.kdf.type !== "pbkdf2") return [slot, each] as const
        return [slot, { ...each, kdf: { ...each.kdf, iterations: 1 << 27 } }] as const
      }),
    )
    return { header: { ...header, metadata: { ...header.metadata, keyslots } } }
  })
  await device.close()
  assert.equal((await place.tresor(["open", slow.path, "slow", "--locked"])).code, 0)
  const { pid } = place.state("slow")
  const unlocking = place.tresor(["setkey", "slow", "--key-file", slow.keyFile])
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const started = performance.now()
  const closed = await place.tresor(["close", "slow"])
  assert.equal(closed.code, 0, closed.stderr)
  await until("tresord ends", () => !alive(pid))
  assert.ok(performance.now() - started < 15_000, "close waited for the KDF")
  assert.equal((await unlocking).code, 4)
})

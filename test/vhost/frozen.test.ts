/**
 * As root: the disk of a virtual machine in a filesystem that is frozen (fsfreeze(8)) under load. bench/vhost's front-end
 * is the guest, and compares what it reads with what it wrote.
 */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { NbdClient } from "../../src/nbd/client.ts"
import { alive, Place, type Result, until } from "../cli/harness.ts"
import { succeed } from "../nbd/harness.ts"
import { frontend, type Mixed } from "./programs.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-frozen-"))
const [image, mounted] = [join(folder, "image"), join(folder, "mounted")]
mkdirSync(mounted)
writeFileSync(image, "")
truncateSync(image, 256 << 20)
await succeed("mkfs.ext4", "-q", "-F", image)
await succeed("mount", "-o", "loop", image, mounted)

const place = new Place()
after(async () => {
  await succeed("umount", "--lazy", mounted)
  rmSync(folder, { recursive: true })
})
const made = await place.volume("work")
const { keyFile } = made
const path = join(mounted, "work")
await succeed("cp", made.path, path)
const other = await place.volume("other")
const socket = join(place.runtime, "work", "vhost.sock")

const PATIENCE_MS = 100_000

async function done(result: Result | Promise<Result>): Promise<string> {
  const { code, stdout, stderr } = await result
  assert.equal(code, 0, stderr)
  return stdout
}

const tresor = (...words: readonly string[]) => done(place.tresor(words))
const status = async () => JSON.parse(await tresor("status", "work", "--json"))

/** Should we hang there ourselves, somebody else thaws it. */
async function whileFrozen(body: () => Promise<void>): Promise<void> {
  const thaw = spawn("sh", ["-c", `sleep 120; fsfreeze --unfreeze ${mounted}`], { detached: true, stdio: "ignore" })
  await succeed("fsfreeze", "--freeze", mounted)
  try {
    await body()
  } finally {
    process.kill(-thaw.pid!, "SIGKILL")
    await succeed("fsfreeze", "--unfreeze", mounted)
  }
}

/** Resolves when nothing of it is answered any more. */
async function requestsWait(): Promise<void> {
  let before = ""
  await until(
    "its requests wait",
    async () => {
      const { counters } = await status()
      const now = JSON.stringify(counters)
      const same = now === before && counters.pending > 0
      before = now
      return same
    },
    PATIENCE_MS,
  )
}

for (const [how, direct] of [
  ["through", []],
  ["past", ["--direct"]],
] as const) {
  const open = () => tresor("open", path, "work", "--key-file", keyFile, "--vhost-user", ...direct)

  test(`${how} the page cache: requests wait, status, lock and other volumes do not; thawed, nothing is lost`, async () => {
    await open()
    await tresor("open", other.path, "other", "--key-file", other.keyFile)
    const load = frontend(socket, ["--queues=2", "--depth=16", "--count=10000", "mixed"])
    await until("requests come", async () => (await status()).counters.writes > 500, PATIENCE_MS)
    await whileFrozen(async () => {
      await requestsWait()
      await using client = await NbdClient.connect(join(place.runtime, "other", "nbd.sock"))
      await client.write(0, Buffer.alloc(4096, 7))
      await client.flush()
      const refused = await place.tresor(["close", "work"])
      assert.equal(refused.code, 5, refused.stderr)
      await tresor("lock", "work")
      assert.equal((await status()).state, "locked")
      await tresor("setkey", "work", "--key-file", keyFile)
      assert.equal((await status()).state, "unlocked")
    })
    const { compared } = JSON.parse(await done(load)) as Mixed
    assert.ok(compared > 1000)
    assert.equal((await status()).counters.errors, 0)
    await tresor("close", "work")
    await tresor("close", "other")
  })

  test(`${how} the page cache: closed by force while frozen and opened again, the guest goes on and loses nothing`, async () => {
    await open()
    const load = frontend(socket, ["--inflight", "--reconnect", "--depth=16", "--count=10000", "mixed"])
    await until("requests come", async () => (await status()).counters.writes > 500, PATIENCE_MS)
    const { pid } = place.state("work")
    await whileFrozen(async () => {
      await requestsWait()
      assert.deepEqual(await place.tresor(["close", "work", "--force"]), { code: 0, stdout: "", stderr: "" })
    })
    await until("its process has ended", () => !alive(pid), PATIENCE_MS)
    await open()
    const { reconnects, compared } = JSON.parse(await done(load)) as Mixed
    assert.equal(reconnects, 1)
    assert.ok(compared > 1000)
    await tresor("close", "work")
  })
}

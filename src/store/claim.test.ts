/** One file, one writer: whatever path or program reaches it. */
import assert from "node:assert/strict"
import { spawn, spawnSync } from "node:child_process"
import { linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { byteClaimed, claimByte } from "../native/file.ts"
import { openStore } from "./open.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-claim-"))
after(() => rmSync(folder, { recursive: true }))
const writing = { readOnly: false, direct: false }
const reading = { readOnly: true, direct: false }

function newFile(name: string): string {
  const path = join(folder, name)
  writeFileSync(path, "")
  truncateSync(path, 1 << 20)
  return path
}

const busy = { code: "STORE_BUSY", exitCode: 5 }

test("a writer shares a file with nobody, by no name; readers share it", async () => {
  const path = newFile("file")
  const [soft, hard] = [join(folder, "soft"), join(folder, "hard")]
  symlinkSync(path, soft)
  linkSync(path, hard)
  const first = await openStore(path, writing)
  // Each waits for a writer that is being killed: together.
  const ways = [writing, reading, { ...writing, direct: true }]
  const others = [path, soft, hard].flatMap((name) => ways.map((way) => [name, way] as const))
  await Promise.all(others.map(([name, way]) => assert.rejects(openStore(name, way), busy)))
  await first.close()
  const readers = await Promise.all([path, soft, hard].map((name) => openStore(name, reading)))
  await assert.rejects(openStore(path, writing), busy)
  await Promise.all(readers.map((reader) => reader.close()))
  await (await openStore(path, writing)).close()
})

test("the bytes are qemu's: 100 and 101 for what a writer does, 201 and 203 for what it denies", async () => {
  const path = newFile("bytes")
  const store = await openStore(path, writing)
  const other = await open(path, "r")
  const claimed = Array.from({ length: 256 }, (_, at) => at).filter((at) => byteClaimed(other.fd, at))
  assert.deepEqual(claimed, [100, 101, 201, 203])
  await store.close()
  assert.equal(byteClaimed(other.fd, 100), false)
  // A guest that only reads, and denies nobody to write.
  claimByte(other.fd, 100)
  await (await openStore(path, writing)).close()
  claimByte(other.fd, 201)
  await assert.rejects(openStore(path, writing), busy)
  await other.close()
})

test("a program that writes without locks is found and named; one that reads is not in the way", async () => {
  const path = newFile("editor")
  const child = spawn("sh", ["-c", `exec 3<>"$0"; exec sleep 60`, path], { stdio: "ignore" })
  try {
    // It is the shell until then.
    while (readFileSync(`/proc/${child.pid}/comm`, "latin1") !== "sleep\n") await sleep(5)
    await assert.rejects(openStore(path, writing), {
      ...busy,
      message: new RegExp(`^Cannot open ${path}: it is in use by sleep \\(process ${child.pid}\\); end it first$`),
    })
  } finally {
    child.kill("SIGKILL")
  }
  const reader = await open(path, "r")
  await sleep(50)
  await (await openStore(path, writing)).close()
  await reader.close()
})

test("a command of this runtime that changes the header does not keep it closed", async () => {
  const path = newFile("header")
  const command = await open(path, "r+")
  await (await openStore(path, writing)).close()
  await command.close()
})

test("a tresord that was killed leaves no claim", async () => {
  const path = newFile("killed")
  const script = `
    import { openStore } from "${import.meta.dirname}/open.ts"
    await openStore(process.argv[1], { readOnly: false, direct: false })
    process.kill(process.pid, "SIGKILL")`
  const ran = spawnSync(process.execPath, ["--input-type=module", "-e", script, path])
  assert.equal(ran.signal, "SIGKILL")
  await (await openStore(path, writing)).close()
})

/** A server without descriptors: clients that come are lost, those there are not. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { NbdClient } from "../nbd/client.ts"

/** Open files of the process that serves. */
const LIMIT = 48

const SERVER = `
  import { MemoryStore } from "${import.meta.dirname}/../store/memory-store.ts"
  import { HANDLE, TestEnclave } from "${import.meta.dirname}/../testing/test-enclave.ts"
  import { Volume } from "${import.meta.dirname}/../volume/volume.ts"
  import { serveNbd } from "${import.meta.dirname}/server.ts"
  import { ControlServer } from "${import.meta.dirname}/../control/server.ts"
  const volume = new Volume({ store: new MemoryStore(new Uint8Array(65536)), offset: 0, size: null, sectorSize: 4096 })
  volume.unlock(new TestEnclave(Buffer.alloc(64, 1), 4096).enclave, HANDLE)
  const server = await serveNbd({ path: process.argv[1], volume, ...(process.argv[3] === "many" ? { most: 1000 } : {}) })
  await ControlServer.listen({ listen: { path: process.argv[2] }, info: {}, interfaces: [] })
  console.log("ready")
  process.stdin.on("end", () => { console.log(server.connections, server.refused); process.exit(0) }).resume()
`

for (const limited of [true, false])
  test(`200 clients of a server with ${LIMIT} descriptors, ${limited ? "limited by itself" : "limited by the system"}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "tresor-nbd-"))
    const [path, control] = [join(folder, "nbd.sock"), join(folder, "control.sock")]
    const node = `exec "${process.execPath}" --input-type=module -e "$0" "$@"`
    const child = spawn("sh", ["-c", `ulimit -n ${LIMIT}; ${node}`, SERVER, path, control, limited ? "few" : "many"], {
      stdio: ["pipe", "pipe", "inherit"],
    })
    let said = ""
    child.stdout.on("data", (data) => (said += data))
    try {
      while (!said.includes("ready")) {
        assert.equal(child.exitCode, null, "the server ended")
        await sleep(20)
      }
      await using first = await NbdClient.connect(path)
      const came = await Promise.allSettled(
        Array.from({ length: 200 }, () => NbdClient.connect(path, { timeoutMs: 3000 })),
      )
      const served = came.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []))
      assert.ok(served.length > 5 && served.length < LIMIT, `${served.length} are served`)
      assert.equal((await first.read(0, 4096)).length, 4096)
      for (const client of served) if (!client.gone) await client.read(0, 512)
      await Promise.all(served.map((client) => client[Symbol.asyncDispose]()))
      // There is room again, when it has seen that they left.
      for (;;) {
        const next = await NbdClient.connect(path, { timeoutMs: 3000 }).catch(() => null)
        if (next === null) continue
        await next.read(0, 512)
        await next[Symbol.asyncDispose]()
        break
      }
      const ended = once(child, "exit")
      child.stdin.end()
      assert.deepEqual(await ended, [0, null])
      assert.match(said, /\n[12] \d+\n$/)
    } finally {
      child.kill("SIGKILL")
      rmSync(folder, { recursive: true })
    }
  })

/**
 * As root, in network namespaces: the network to an NBD server fails without a word while a write is unanswered,
 * and the server makes that write all the same. Nothing is written any more, also when the network is back.
 */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { run, succeed } from "../nbd/harness.ts"

const DELAY_MS = 1000
const TIMEOUT_MS = 1500
const [CLIENT, SERVER] = ["10.231.77.1", "10.231.77.2"]

/** Runs in the client's namespace; `down` and `up` are commands. Prints one line of JSON. */
const PROGRAM = `
  import { execFileSync } from "node:child_process"
  import { setTimeout as sleep } from "node:timers/promises"
  import { NbdStore } from ${JSON.stringify(new URL("../../src/store/nbd-store.ts", import.meta.url).href)}
  const [host, far, device] = process.argv.slice(1)
  const link = (state) => execFileSync("ip", ["-n", far, "link", "set", device, state])
  const target = { at: { host, port: 10809 }, exportName: "" }
  const log = []
  const options = { timeoutMs: ${TIMEOUT_MS}, lossGraceMs: 8000, log: (text) => log.push(text) }
  const outcome = (work) => work.then(() => "done", (error) => error.code + ": " + error.message)
  const page = (byte) => new Uint8Array(4096).fill(byte)

  const store = await NbdStore.open(target, options)
  await store.write(0, page(1))
  await store.flush()
  const unanswered = outcome(store.write(4096, page(2)))
  await sleep(300)
  link("down")
  const waiting = outcome(store.write(8192, page(3)))
  const results = { unanswered: await unanswered, waiting: await waiting, failed: store.failed }
  link("up")
  const read = page(0)
  while ((await outcome(store.read(0, read))) !== "done") await sleep(100)
  const others = page(0)
  await store.read(4096, others)
  results.read = [read[0], others[0]]
  results.later = await outcome(store.write(8192, page(4)))
  results.flush = await outcome(store.flush())
  results.discard = await outcome(store.discard(0, 4096))
  await store.close()
  const again = await NbdStore.open(target, options)
  results.again = await outcome(again.write(12288, page(5)))
  await again.flush()
  await again.close()
  console.log(JSON.stringify({ ...results, log }))
  process.exit(0)`

test("the network fails silently with a write unanswered: writing ends, nothing is repeated, reading goes on", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tresor-silent-"))
  const [near, far] = [`tresor-near-${process.pid}`, `tresor-far-${process.pid}`]
  const written = join(folder, "log")
  let nbdkit: ReturnType<typeof spawn> | null = null
  try {
    for (const each of [near, far]) await succeed("ip", "netns", "add", each)
    await succeed(
      "ip",
      "link",
      "add",
      "tresor0",
      "netns",
      near,
      "type",
      "veth",
      "peer",
      "name",
      "tresor1",
      "netns",
      far,
    )
    await succeed("ip", "-n", near, "address", "add", `${CLIENT}/30`, "dev", "tresor0")
    await succeed("ip", "-n", far, "address", "add", `${SERVER}/30`, "dev", "tresor1")
    await succeed("ip", "-n", near, "link", "set", "tresor0", "up")
    await succeed("ip", "-n", far, "link", "set", "tresor1", "up")
    // The system gives a silent peer up after a quarter of an hour, as a rule.
    await succeed("ip", "netns", "exec", near, "sysctl", "-q", "-w", "net.ipv4.tcp_retries2=3")
    const server = ["nbdkit", "--foreground", "--exit-with-parent", "--filter=log", "--filter=delay", "memory", "1M"]
    nbdkit = spawn("ip", ["netns", "exec", far, ...server, `logfile=${written}`, `delay-write=${DELAY_MS}ms`], {
      stdio: "ignore",
    })
    const listening = async () => (await succeed("ip", "netns", "exec", far, "ss", "-ltn")).includes(":10809")
    while (!(await listening())) await new Promise((resolve) => setTimeout(resolve, 20))

    const program = [process.execPath, "--input-type=module", "-e", PROGRAM, SERVER, far, "tresor1"]
    const { stdout, stderr } = await run("timeout", "60", "ip", "netns", "exec", near, ...program)
    assert.notEqual(stdout, "", stderr)
    const said = JSON.parse(stdout)
    assert.match(said.unanswered, /^EIO: /)
    assert.match(said.waiting, /^EIO: /)
    assert.equal(said.failed, true)
    // The server has made the write that nobody answered.
    assert.deepEqual(said.read, [1, 2])
    for (const each of [said.later, said.flush, said.discard]) assert.match(each, /^EIO: .*closed and opened again/)
    assert.equal(said.again, "done")
    assert.ok(said.log.includes("writing has ended"), String(said.log))
    const writes = readFileSync(written, "latin1").match(/Write id=\d+ offset=0x[0-9a-f]+/g) ?? []
    assert.deepEqual(
      writes.map((each) => Number(each.split("offset=")[1])),
      [0, 4096, 12288],
    )
  } finally {
    nbdkit?.kill("SIGKILL")
    for (const each of [near, far]) await run("ip", "netns", "delete", each)
    rmSync(folder, { recursive: true, force: true })
  }
})

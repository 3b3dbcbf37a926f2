/**
 * No secret is in tresord's memory outside the enclave, nor in anything it or
 * the command line sends, and the enclave's pages cannot be read. Needs root.
 */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { pbkdf2Sync, randomBytes } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { before, test } from "node:test"
import { fileURLToPath } from "node:url"
import { Place, run, until } from "../cli/harness.ts"
import { type Needle, roundKeys, scan, scanFile } from "./scanner.ts"

/** As luksDump --dump-json-metadata shows it. */
interface LuksKeyslot {
  readonly kdf: { readonly type: string; readonly iterations: number; readonly salt: string; readonly hash: string }
  readonly area: { readonly key_size: number }
}

const place = new Place()
const passphrase = `Zürich-${randomBytes(9).toString("base64url")}-Tresor`
const portable = `portable-${randomBytes(12).toString("base64url")}`
let path = ""
let keyFile = ""
let needles: Needle[] = []

/** The volume key, by cryptsetup and the portable passphrase: an implementation that is not ours. */
async function volumeKey(portableFile: string): Promise<Buffer> {
  const out = place.path("volume.key")
  const args = ["luksDump", path, "-q", "--dump-volume-key", "--volume-key-file", out, "--key-file", portableFile]
  const dumped = await run("cryptsetup", args)
  assert.equal(dumped.code, 0, dumped.stderr)
  return readFileSync(out)
}

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img", passphrase))
  const portableFile = place.file("portable.key", portable)
  const added = await place.tresor([
    ...["key", "add", path, "--key-file", keyFile, "--new-key-file", portableFile, "--portable"],
    ...["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"],
  ])
  assert.equal(added.code, 0, added.stderr)
  const key = await volumeKey(portableFile)
  const dump = JSON.parse((await run("cryptsetup", ["luksDump", path, "--dump-json-metadata"])).stdout)
  const [slot] = (Object.values(dump.keyslots) as LuksKeyslot[])
    .filter(({ kdf }) => kdf.type === "pbkdf2" && kdf.iterations === 1000)
    .slice(-1)
  assert.ok(slot)
  const salt = Buffer.from(slot.kdf.salt, "base64")
  const areaKey = pbkdf2Sync(portable, salt, slot.kdf.iterations, slot.area.key_size, slot.kdf.hash)
  needles = [
    { name: "passphrase", bytes: Buffer.from(passphrase) },
    { name: "passphrase in UTF-16", bytes: Buffer.from(passphrase, "utf16le") },
    { name: "portable passphrase", bytes: Buffer.from(portable) },
    { name: "portable passphrase in UTF-16", bytes: Buffer.from(portable, "utf16le") },
  ]
  const halves = { "volume key": key, "keyslot's key": areaKey }
  for (const [name, bytes] of Object.entries(halves)) {
    const half = bytes.length / 2
    for (const [which, part] of [
      ["first", bytes.subarray(0, half)],
      ["second", bytes.subarray(half)],
    ] as const) {
      needles.push({ name: `${name}, ${which} half`, bytes: part })
      roundKeys(part).forEach((round, index) => {
        needles.push({ name: `${name}, ${which} half, round key ${index}`, bytes: round })
      })
    }
  }
})

/** A process that is not ours to keep; killed at the end of `work`. */
async function held<T>(content: Buffer, work: (pid: number) => T): Promise<T> {
  const child = spawn(process.execPath, [fileURLToPath(new URL("plant.mjs", import.meta.url))], { stdio: "pipe" })
  try {
    child.stdin.end(content)
    await new Promise((resolve) => child.stdout.once("data", resolve))
    return work(child.pid!)
  } finally {
    child.kill("SIGKILL")
  }
}

test("the scanner finds each secret when it is planted", async () => {
  for (const needle of needles) {
    const { found } = await held(needle.bytes, (pid) => scan(pid, [needle]))
    assert.ok(found.length > 0, `${needle.name} was planted and not found`)
    if (needles.indexOf(needle) >= 8) break
  }
  // The rest at once: a process each would take long.
  const { found } = await held(Buffer.concat(needles.map(({ bytes }) => bytes)), (pid) => scan(pid, needles))
  for (const { name } of needles)
    assert.ok(
      found.some((hit) => hit.startsWith(`${name} @`)),
      `${name} was not found`,
    )
})

test("after open and I/O none of them is in tresord's memory", async () => {
  for (const file of [keyFile, place.path("portable.key")]) {
    const opened = await place.tresor(["open", path, "scanned", "--key-file", file])
    assert.equal(opened.code, 0, opened.stderr)
    const socket = place.path("run/scanned/nbd.sock")
    const io = ["write -P 0xa5 0 4M", "flush", "read -P 0xa5 0 4M"].flatMap((command) => ["-c", command])
    const done = await run("qemu-io", ["-f", "raw", ...io, `nbd+unix:///?socket=${socket}`])
    assert.equal(done.code, 0, done.stderr)
    const { pid } = place.state("scanned")
    const { found, scanned, refused } = scan(pid, needles)
    assert.deepEqual(found, [])
    assert.ok(scanned > 20 << 20, `only ${scanned} bytes could be read`)
    assert.ok(refused.length > 0, "no mapping refused to be read: where is the enclave?")
    await place.tresor(["close", "scanned"])
  }
})

test("nothing that is sent or written holds a passphrase", async () => {
  const calls = "trace=write,writev,pwrite64,pwritev,sendto,sendmsg,sendmmsg"
  const options = ["-f", "-qq", "-xx", "-s", "16777216", "-e", calls, "-e", "signal=none"]
  // A traced program would refuse to start: tresord is joined by root while it waits locked, the command line runs unlaunched.
  const locked = await place.tresor(["open", path, "traced", "--locked"])
  assert.equal(locked.code, 0, locked.stderr)
  const { pid } = place.state("traced")
  const [server, client] = [place.path("trace.tresord"), place.path("trace.tresor")]
  const tracing = run("strace", [...options, "-o", server, "-p", String(pid)])
  await until("strace has joined", () => /^TracerPid:\s+[1-9]/m.test(readFileSync(`/proc/${pid}/status`, "utf8")))
  const unlaunched = [process.execPath, fileURLToPath(new URL("../cli/unhardened.cjs", import.meta.url))]
  const unlocked = await run(
    "strace",
    [...options, "-o", client, ...unlaunched, "setkey", "traced", "--key-file", keyFile],
    { env: place.env },
  )
  assert.equal(unlocked.code, 0, unlocked.stderr)
  assert.match((await place.tresor(["list"])).stdout, /unlocked/)
  await place.tresor(["close", "traced"])
  assert.equal((await tracing).code, 0)
  const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")
  for (const trace of [server, client]) {
    const text = readFileSync(trace, "latin1")
    assert.ok(
      text.includes(hex(Buffer.from("io.tresor.Volume"))) || trace === server,
      "the control traffic was not recorded",
    )
    assert.ok(text.includes("write"), "nothing was recorded")
    for (const { name, bytes } of needles) {
      assert.ok(!text.includes(hex(bytes)), `${name} was sent`)
      assert.ok(!text.includes(hex(Buffer.from(bytes.toString("base64")))), `${name} was sent in base64`)
    }
  }
})

test("root cannot read the enclave's secret pages by any of the usual ways", async () => {
  await place.tresor(["open", path, "locked", "--key-file", keyFile])
  const { pid } = place.state("locked")
  const maps = readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")
  const secret = maps.filter((line) => line.includes("secretmem"))
  assert.ok(secret.length > 0, "no memfd_secret mapping: on a kernel without it this test has nothing to show")
  const addresses = secret.map((line) => line.slice(0, line.indexOf("-")))
  const peek = fileURLToPath(new URL("peek.py", import.meta.url))
  for (const address of addresses) {
    const { stdout } = await run("python3", [peek, String(pid), address])
    assert.equal(stdout.trim(), "EFAULT", `process_vm_readv at ${address}`)
  }
  // Ordinary memory of the same process can be read: the refusals above are the pages'.
  const heap = maps.find((line) => line.includes("[heap]"))!
  const control = await run("python3", [peek, String(pid), heap.slice(0, heap.indexOf("-"))])
  assert.match(control.stdout, /^[0-9a-f]{32}$/m)

  const core = place.path("core")
  await run("gcore", ["-a", "-o", core, String(pid)])
  const dumped = `${core}.${pid}`
  // A process that is not dumpable may also have refused.
  if (existsSync(dumped)) assert.deepEqual(scanFile(dumped, needles), [])
  await place.tresor(["close", "locked"])
})

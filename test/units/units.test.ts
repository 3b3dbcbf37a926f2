/** The systemd units: what they close, and that tresord works behind it. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { basename, join } from "node:path"
import { after, test } from "node:test"
import { MESSAGE_IDS } from "../../src/tresord/journal.ts"
import { Place, root, run, until } from "../cli/harness.ts"
import { Swtpm } from "../tpm/swtpm.ts"

const place = new Place()
const tpm = new Swtpm(place.folder)
after(() => tpm.stop())
const unit = join(root, "units/tresor@.service")
const confined = join(root, "test/units/confined.py")

for (const [file, most] of [
  [unit, 3],
  [join(root, "units/tresor-metrics@.service"), 4],
  [join(root, "units/tresor-lock.service"), 2],
] as const) {
  test(`systemd-analyze rates the exposure of ${basename(file)} below ${most}`, async (t) => {
    const { stdout, stderr } = await run("systemd-analyze", ["security", "--offline=yes", "--no-pager", file])
    const [, rating] = /exposure level for \S+: ([\d.]+)/.exec(stdout) ?? []
    t.diagnostic(`exposure ${rating} of 10`)
    assert.ok(Number(rating) < most, `${rating} ${stderr}`)
  })
}

test("the confinement of the next test does refuse", async () => {
  const program = `import os,socket
def refused(work):
    try: work()
    except PermissionError: return True
    return False
print(refused(lambda: os.chroot("/")), refused(lambda: socket.socket(socket.AF_NETLINK)), refused(lambda: os.chown("/dev/null", 0, 0)), refused(lambda: socket.socket(socket.AF_UNIX)))`
  const { stdout, stderr } = await run("/usr/bin/python3", [confined, unit, "/usr/bin/python3", "-c", program])
  assert.equal(stdout, "True True True False\n", stderr)
})

async function unconfinedMemory(): Promise<unknown> {
  const { path, keyFile } = await place.volume("free.img")
  assert.equal((await place.tresor(["open", path, "free", "--key-file", keyFile])).code, 0)
  const { enclave } = JSON.parse((await place.tresor(["status", "free", "--json"])).stdout)
  await place.tresor(["close", "free"])
  return enclave.memory
}

test("tresord serves, locks, unlocks and closes under the unit's filter, families and capabilities", async () => {
  const { path, keyFile } = await place.volume("disk.img")
  // Its machine secret is in root's keyring, as after a boot with a PIN.
  const enrolled = await place.tresor(
    ["machine", "enroll", "--tpm2", "--no-recovery", "--new-pin-file", place.file("pin", "1234")],
    { env: tpm.env },
  )
  assert.equal(enrolled.code, 0, enrolled.stderr)
  const words = [confined, unit, join(root, "dist/tresord"), "--", path, "unit"]
  const child = spawn("/usr/bin/python3", words, {
    env: { ...process.env, ...place.env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let log = ""
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (log += text))
  const exited = once(child, "exit")
  await until(
    "it is ready",
    () => child.exitCode !== null || child.signalCode !== null || /"message":"ready"/.test(log),
    60_000,
  )
  assert.deepEqual([child.exitCode, child.signalCode], [null, null], log)
  const status = readFileSync(`/proc/${child.pid}/status`, "latin1")
  assert.match(status, /^Seccomp:\s+2$/m)
  const unlock = async () => {
    const { code, stderr } = await place.tresor(["setkey", "unit", "--key-file", keyFile])
    assert.equal(code, 0, `${stderr}${log}`)
  }
  await unlock()
  const state = JSON.parse((await place.tresor(["status", "unit", "--json"])).stdout)
  // As without the filter, where nothing else forbids it.
  assert.deepEqual(state.enclave.memory, await unconfinedMemory())
  assert.equal(state.disk.engine, "io_uring")
  const uri = `nbd+unix:///?socket=${join(place.runtime, "unit/nbd.sock")}`
  const io = ["write -P 0xa5 0 4M", "flush", "discard 8M 1M", "read -P 0xa5 0 4M"].flatMap((command) => ["-c", command])
  const done = await run("qemu-io", ["-f", "raw", ...io, uri])
  assert.equal(done.code, 0, done.stderr + log)
  assert.equal((await place.tresor(["lock", "unit"])).code, 0)
  await unlock()
  process.kill(child.pid!, "SIGUSR1")
  await until("the counters are logged", () => log.includes("counters"))
  process.kill(child.pid!, "SIGTERM")
  assert.deepEqual(await exited, [0, null], log)
})

test("the sleep unit: sleep requires it, and it fails when the keys stay", async () => {
  const text = readFileSync(join(root, "units/tresor-sleep@.service"), "utf8")
  assert.match(text, /^Before=sleep\.target$/m)
  assert.match(text, /^RequiredBy=sleep\.target$/m)
  assert.match(text, /^TimeoutStartSec=\d+s$/m)
  const [, words] = /^ExecStart=\/usr\/bin\/tresor (.*) %i$/m.exec(text)!
  const sleep = () => place.tresor([...words!.split(" "), "asleep"])
  // Not open: no keys, nothing to stop sleep for.
  assert.equal((await sleep()).code, 0)
  const { path, keyFile } = await place.volume("asleep.img")
  assert.equal((await place.tresor(["open", path, "asleep", "--key-file", keyFile])).code, 0)
  const { pid } = place.state("asleep")
  // A process that does not answer holds its keys: the command must not succeed.
  process.kill(pid, "SIGSTOP")
  const hanging = await run("timeout", ["3", join(root, "tresor"), ...words!.split(" "), "asleep"], { env: place.env })
  assert.equal(hanging.code, 124)
  process.kill(pid, "SIGCONT")
  assert.equal((await sleep()).code, 0)
  assert.equal(JSON.parse((await place.tresor(["status", "asleep", "--json"])).stdout).state, "locked")
  process.kill(pid, "SIGKILL")
  await until("its process is gone", async () => (await sleep()).code === 0)
})

for (const [errno, words] of [
  ["EPERM", /seccomp filter refuses memfd_secret/],
  ["ENOSYS", /needs Linux 5\.14/],
] as const)
  test(`doctor under a filter that answers memfd_secret with ${errno} says what would help`, async () => {
    const refusing = join(root, "test/units/refusing.py")
    const command = [refusing, "memfd_secret", errno, join(root, "tresor"), "doctor", "--json"]
    const { stdout, stderr } = await run("/usr/bin/python3", command, { env: place.env })
    assert.notEqual(stdout, "", stderr)
    const { checks } = JSON.parse(stdout) as {
      readonly checks: readonly { readonly id: string; readonly found: string; readonly remedy: string | null }[]
    }
    const keys = checks.find(({ id }) => id === "memory-keys")!
    assert.notEqual(keys.found, "memfd_secret")
    assert.match(keys.remedy!, words)
  })

/** What systemd is told by a tresord, and its exit code. */
async function told(words: readonly string[]): Promise<{ readonly said: readonly string[]; readonly code: number }> {
  const socket = place.path("notify")
  const { stdout, stderr } = await run(
    "python3",
    [join(root, "test/units/notified.py"), socket, join(root, "dist/tresord"), ...words],
    {
      env: { ...place.env, NOTIFY_SOCKET: socket },
    },
  )
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as string | number)
  assert.equal(typeof lines.at(-1), "number", stderr)
  return { said: lines.slice(0, -1) as string[], code: lines.at(-1) as number }
}

test("systemd is told why a tresord cannot start, in one line, beside the exit code", async () => {
  const { said, code } = await told(["--", place.path("nothing.img"), "none"])
  assert.equal(code, 4)
  assert.equal(said.length, 1, said.join("\n"))
  assert.match(said[0]!, /^STATUS=cannot start: [^\n]*nothing\.img[^\n]*$/)
})

test("the journal has a sentence and fields of each event, and no JSON in its messages", {
  skip: process.getuid!() === 0 ? false : "a journald of its own needs root",
}, async () => {
  const { path, keyFile } = await place.volume("journal.img")
  const words = ["-m", join(root, "test/units/journal.sh"), root, path, keyFile, place.env["TRESOR_STATE_DIR"]!]
  const { code, stdout, stderr } = await run("unshare", words)
  assert.equal(code, 0, stderr)
  const entries = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, string>)
  const of = (message: string) => entries.filter((entry) => entry["MESSAGE_ID"] === MESSAGE_IDS[message])
  for (const entry of entries) {
    assert.match(entry["MESSAGE"]!, /^work: [a-z]/)
    assert.deepEqual([entry["SYSLOG_IDENTIFIER"], entry["_TRANSPORT"]], ["tresord", "journal"])
  }
  assert.equal(of("ready")[0]!["TRESOR_PATH"], path)
  assert.ok(of("state").some((entry) => entry["TRESOR_STATE"] === "unlocked"))
  assert.equal(of("closing")[0]!["MESSAGE"], "work: closing: asked to")
  assert.equal(of("closed")[0]!["PRIORITY"], "6")
})

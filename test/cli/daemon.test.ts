import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { join } from "node:path"
import { before, test } from "node:test"
import { bindingOf } from "../../src/enclave/asked.ts"
import { decodePublicHeader } from "../../src/enclave/marshal.ts"
import { alive, Place, root, run, tresorPath, until } from "./harness.ts"

const place = new Place()
let path = ""
let keyFile = ""

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img"))
})

async function open(name = "work", more: readonly string[] = []): Promise<number> {
  const { code, stdout, stderr } = await place.tresor(["open", path, name, "--key-file", keyFile, "--json", ...more])
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout).pid
}

const control = (name: string) => join(place.runtime, name, "control.sock")

/** Raw bytes to the control socket, raw bytes back. */
function raw(name: string, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: control(name), allowHalfOpen: true })
    let text = ""
    socket.setEncoding("utf8").on("data", (chunk) => {
      text += chunk
    })
    socket.on("error", reject)
    socket.on("close", () => resolve(text))
    socket.end(bytes)
  })
}

test("tresord outlives the CLI, in a session of its own", async () => {
  const pid = await open()
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
  assert.equal(Number(stat[3]), pid, "leads its session")
  assert.equal(stat[4], "0", "has no terminal")
  await place.tresor(["close", "work"])
  assert.equal(alive(pid), false)
})

test("ps shows which volume a tresord serves", async () => {
  const pid = await open()
  assert.match(readFileSync(`/proc/${pid}/cmdline`, "utf8"), new RegExp(`^tresord: work ${path}`))
  await place.tresor(["close", "work"])
})

test("a command that comes to no open leaves no tresord and no file of the one it had begun to start", async () => {
  const { code } = await place.tresor(["open", path, "work", "--key-fiel", keyFile])
  assert.equal(code, 1)
  const ours = () =>
    readdirSync("/proc").filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(place.runtime) && alive(Number(pid))
      } catch {
        return false
      }
    })
  await until("its tresord is gone", () => ours().length === 0)
  assert.deepEqual(
    readdirSync(place.runtime).filter((name) => name !== ".lock"),
    [],
  )
})

test("a tresord that dies at the start: the command says so with its last words, and nothing is left", async () => {
  const there = place.path("broken")
  mkdirSync(there)
  for (const part of ["tresor", "dist"]) cpSync(join(root, part), join(there, part), { recursive: true })
  for (const part of ["package.json", "addon", "enclave"]) symlinkSync(join(root, part), join(there, part))
  writeFileSync(join(there, "dist/tresord.cjs"), 'throw new Error("out of luck")')
  const { code, stderr } = await run(join(there, "tresor"), ["open", path, "work", "--key-file", keyFile], {
    env: place.env,
  })
  assert.equal(code, 4)
  assert.match(
    stderr,
    /^tresor: error: Cannot open work: its tresord died at the start \(exit code 1\): Error: out of luck\n$/,
  )
  assert.deepEqual(readdirSync(place.runtime), [".lock"])
})

for (const [what, runtime, code] of [
  ["that cannot be made", "/proc/no/such", 4],
  ["that others can enter", "/usr", 2],
] as const)
  test(`a runtime directory ${what}: one line, although tresord was to start first`, async () => {
    const result = await place.tresor(["open", path, "work", "--key-file", keyFile], {
      env: { TRESOR_RUNTIME_DIR: runtime },
    })
    assert.deepEqual([result.code, result.stdout], [code, ""])
    assert.match(result.stderr, new RegExp(`^tresor: error: Cannot use ${runtime}[^\\n]+\\n$`))
  })

for (const [what, said, code] of [
  ["nothing", "", 0],
  ["half a line", '{"backend"', 0],
  ["a line that is no set of options", '{"path":1}\n', 4],
] as const)
  test(`a starter that says ${what} and goes: tresord ends with ${code}`, async () => {
    const log = place.path(`log-${code}-${said.length}`)
    const child = spawn(join(root, "dist/tresord"), ["--lifeline", "--log-file", log], {
      env: { ...process.env, ...place.env },
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    })
    const lifeline = child.stdio[3] as Socket
    lifeline.on("error", () => {})
    lifeline.end(said)
    assert.equal(await new Promise((resolve) => child.once("exit", resolve)), code)
    assert.deepEqual(place.names(), [])
  })

test("SIGTERM closes: data written before is there after, no directory is left", async () => {
  const pid = await open()
  const uri = `nbd+unix:///?socket=${place.runtime}/work/nbd.sock`
  const plain = place.file("plain", Buffer.alloc(1 << 20, "written before SIGTERM "))
  assert.equal((await run("qemu-io", ["-f", "raw", uri, "-c", `write -s ${plain} 1M 1M`])).code, 0)
  process.kill(pid, "SIGTERM")
  await until("tresord has ended", () => !alive(pid))
  assert.deepEqual(place.names(), [])
  await open()
  const back = place.path("back")
  assert.equal((await run("nbdcopy", [uri, back])).code, 0)
  assert.deepEqual(readFileSync(back).subarray(1 << 20, 2 << 20), readFileSync(plain))
  await place.tresor(["close", "work"])
})

test("after kill -9 the volume is listed as dead, not closable, and cleared by the next open", async () => {
  const pid = await open()
  process.kill(pid, "SIGKILL")
  await until("tresord is dead", () => !alive(pid))
  assert.deepEqual(place.names(), ["work"])
  assert.match((await place.tresor(["list"])).stdout, /^work +dead +- +- +\/.*disk\.img$/m)
  const [listed] = JSON.parse((await place.tresor(["list", "--json"])).stdout)
  assert.deepEqual(listed, { name: "work", state: "dead", path, user: process.getuid!() })
  for (const command of ["close", "status", "lock", "setkey"]) {
    const refused = await place.tresor([command, "work"])
    assert.equal(refused.code, 4)
    assert.match(refused.stderr, new RegExp(`Cannot reach work: its tresord, process ${pid}, died; [^\\n]*open`))
  }
  assert.notEqual(await open(), pid)
  await place.tresor(["close", "work"])
})

test("a directory whose PID belongs to another process by now is stale", async () => {
  mkdirSync(join(place.runtime, "work"), { mode: 0o700 })
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  const state = {
    version: 1,
    name: "work",
    pid: process.pid,
    startTime: "1",
    bootId,
    path: "/x",
    store: "/x",
    readonly: false,
  }
  writeFileSync(join(place.runtime, "work/state.json"), JSON.stringify(state))
  await open()
  await place.tresor(["close", "work"])
})

test("a directory with a damaged state is cleared", async () => {
  mkdirSync(join(place.runtime, "work"), { mode: 0o700 })
  writeFileSync(join(place.runtime, "work/state.json"), "{")
  await open()
  await place.tresor(["close", "work"])
})

test("of several opens of one name at once exactly one wins, the others exit 5", async () => {
  const codes = await Promise.all(
    Array.from({ length: 4 }, async () => (await place.tresor(["open", path, "work", "--key-file", keyFile])).code),
  )
  assert.deepEqual(codes.sort(), [0, 5, 5, 5])
  await place.tresor(["close", "work"])
  assert.deepEqual(place.names(), [])
})

test("volumes of several names are open side by side", async () => {
  const other = await place.volume("other.img")
  await open("one")
  assert.equal((await place.tresor(["open", other.path, "two", "--key-file", other.keyFile])).code, 0)
  const listed = JSON.parse((await place.tresor(["list", "--json"])).stdout)
  assert.deepEqual(
    listed.map((each: { name: string }) => each.name),
    ["one", "two"],
  )
  for (const name of ["one", "two"]) assert.equal((await place.tresor(["close", name])).code, 0)
})

test("the control socket speaks varlink: GetInfo and the interface's text", async () => {
  await open()
  const info = JSON.parse((await raw("work", '{"method":"org.varlink.service.GetInfo"}\0')).slice(0, -1))
  assert.deepEqual(info.parameters.interfaces, ["org.varlink.service", "io.tresor.Volume"])
  const asked = { method: "org.varlink.service.GetInterfaceDescription", parameters: { interface: "io.tresor.Volume" } }
  const text = JSON.parse((await raw("work", `${JSON.stringify(asked)}\0`)).slice(0, -1)).parameters.description
  assert.match(text, /^interface io\.tresor\.Volume$/m)
  await place.tresor(["close", "work"])
})

test("a sealed request that is replayed, forged or for nobody is refused, and the volume stays as it was", async () => {
  await open("work", ["--locked"])
  const call = async (method: string, parameters: object) =>
    JSON.parse(
      (await raw("work", `${JSON.stringify({ method: `io.tresor.Volume.${method}`, parameters })}\0`)).slice(0, -1),
    )
  const { nonce, parameters } = (await call("Challenge", { purpose: "unlock" })).parameters
  const { uuid } = (await call("Status", {})).parameters.volume
  const header = decodePublicHeader(Buffer.from(parameters, "base64"), uuid)
  const { request: digest } = await bindingOf({ purpose: "unlock", header, slot: null })
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64")
  const message = base64(Buffer.alloc(200, 7))
  const request = { uuid, slot: null, unsealed: true, nonce, request: base64(digest), message }
  for (const _ of ["forged", "the same again"]) {
    const answer = await call("Unlock", request)
    assert.equal(answer.error, "io.tresor.Volume.Refused")
    assert.equal(answer.parameters.code, "ENCLAVE_MESSAGE")
  }
  assert.equal((await call("Status", {})).parameters.volume.state, "locked")
  await place.tresor(["close", "work"])
})

test("lock wipes the keys, I/O waits, setkey resumes it; a wrong passphrase does not", async () => {
  await open()
  const uri = `nbd+unix:///?socket=${place.runtime}/work/nbd.sock`
  assert.equal((await run("qemu-io", ["-f", "raw", uri, "-c", "write -P 0x5a 0 64k"])).code, 0)
  assert.equal((await place.tresor(["lock", "work"])).code, 0)
  let done = false
  const reading = run("qemu-io", ["-f", "raw", uri, "-c", "read -P 0x5a 0 64k"]).then((result) => {
    done = true
    return result
  })
  await new Promise((resolve) => setTimeout(resolve, 500))
  assert.equal(done, false, "the read waits")
  const wrong = await place.tresor(["setkey", "work"], { input: "wrong\n" })
  assert.deepEqual([wrong.code, wrong.stderr], [2, "No key available with this passphrase.\n"])
  assert.equal(done, false, "the read still waits")
  assert.equal((await place.tresor(["setkey", "work", "--key-file", keyFile])).code, 0)
  const result = await reading
  assert.match(result.stdout, /read 65536\/65536/)
  assert.doesNotMatch(result.stdout, /verification failed/i)
  await place.tresor(["close", "work"])
})

test("setkey --remote brings the passphrase over any byte stream", async () => {
  await open("work", ["--locked"])
  // What ssh would do: run the command given after the host.
  const rsh = place.file("rsh", '#!/bin/sh\nshift\nexec sh -c "$1"\n')
  await run("chmod", ["+x", rsh])
  const args = ["setkey", "work", "--remote", "user@host", "--rsh", rsh, "--remote-tresor", tresorPath]
  // Nobody is at a terminal to say yes to an enclave that is new.
  const unknown = await place.tresor(args, { input: "wrong\n" })
  assert.equal(unknown.code, 2)
  assert.match(unknown.stderr, /unknown enclave [0-9a-f]{64}.*--policy/)
  const policy = place.path("policy.json")
  assert.equal((await place.tresor(["attest", "policy", "init", "--testing", "--out", policy])).code, 0)
  args.push("--policy", policy)
  const wrong = await place.tresor(args, { input: "wrong\n" })
  assert.deepEqual([wrong.code, wrong.stderr], [2, "No key available with this passphrase.\n"])
  const right = await place.tresor([...args, "--key-file", keyFile])
  assert.equal(right.code, 0, right.stderr)
  assert.equal(JSON.parse((await place.tresor(["status", "work", "--json"])).stdout).state, "unlocked")
  await place.tresor(["close", "work"])
})

test("the log has JSON lines with priorities, and no secret", async () => {
  const pid = await open()
  const log = join(place.runtime, "work/log")
  process.kill(pid, "SIGUSR1")
  await until("the counters are logged", () => readFileSync(log, "utf8").includes("counters"))
  const text = readFileSync(log, "utf8")
  for (const line of text.trim().split("\n")) {
    assert.match(line, /^<[2-7]>\{/)
    JSON.parse(line.slice(3))
  }
  assert.ok(!text.includes(readFileSync(keyFile, "utf8")))
  await place.tresor(["close", "work"])
})

test("who answers on the control socket must be the tresord of state.json, else nothing is said to him", async () => {
  await open()
  const socket = control("work")
  renameSync(socket, `${socket}.kept`)
  let heard = 0
  const impostor = createServer((peer) =>
    peer.on("data", (bytes) => {
      heard += bytes.length
    }),
  )
  await new Promise<void>((resolve) => impostor.listen(socket, resolve))
  for (const words of [["status"], ["setkey", "--key-file", keyFile], ["lock"], ["close"], ["bridge"]]) {
    const [command, ...options] = words
    const { code, stderr } = await place.tresor([command!, "work", ...options])
    assert.deepEqual([command, code], [command, 2], stderr)
    assert.match(stderr, new RegExp(`Cannot talk to work: process ${process.pid} of user ${process.getuid!()} answers`))
  }
  assert.equal(heard, 0)
  impostor.close()
  renameSync(`${socket}.kept`, socket)
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

test("setkey in a process that was there before pins nothing; open does", async () => {
  const known = join(place.env["XDG_CONFIG_HOME"]!, "tresor/known-enclaves")
  rmSync(known, { force: true })
  assert.equal((await place.tresor(["open", path, "work", "--locked"])).code, 0)
  const unlocked = await place.tresor(["setkey", "work", "--key-file", keyFile])
  assert.equal(unlocked.code, 0, unlocked.stderr)
  assert.equal(existsSync(known), false)
  await place.tresor(["close", "work"])
  await open()
  assert.match(readFileSync(known, "utf8"), /^local software /m)
  await place.tresor(["close", "work"])
})

test("a relative TRESOR_RUNTIME_DIR and TRESOR_STATE_DIR are directories below this one, for tresord too", async () => {
  const cwd = place.path("here")
  mkdirSync(cwd)
  const env = { TRESOR_RUNTIME_DIR: "run", TRESOR_STATE_DIR: "state" }
  const made = await place.tresor(
    ["create", "own.img", "--size", "32M", "--key-file", keyFile, "--no-recovery", "--pbkdf", "pbkdf2"],
    { cwd, env },
  )
  assert.equal(made.code, 0, made.stderr)
  const opened = await place.tresor(["open", "own.img", "relative", "--key-file", keyFile], { cwd, env })
  assert.equal(opened.code, 0, opened.stderr)
  assert.match((await place.tresor(["list"], { cwd, env })).stdout, /^relative +unlocked/m)
  assert.equal((await place.tresor(["close", "relative"], { cwd, env })).code, 0)
  assert.deepEqual(readdirSync(join(cwd, "run")), [".lock"])
})

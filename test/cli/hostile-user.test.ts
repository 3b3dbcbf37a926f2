/** What root sees and asks while a user has put things of his own where a tresord would be. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, chownSync, existsSync, mkdirSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { Place, type Result, run, tresorPath } from "./harness.ts"

const place = new Place()
/** Nobody else's. */
const USER = 4_000_000 + (process.pid % 100_000)
const HOME = `/run/user/${USER}`
/** Of root, in /run/tresor. */
const OWN = `own-${process.pid}`

// What follows the header is the user's: a state.json that names `pid`, and a socket.
const HEADER = `
import json, os, socket, sys, threading
user, name, pid = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) or os.getpid()
os.setgroups([]); os.setgid(user); os.setuid(user); os.umask(0o077)
folder = f"/run/user/{user}/tresor/{name}"
os.makedirs(folder, exist_ok=True)
start = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[19]
boot = open("/proc/sys/kernel/random/boot_id").read().strip()
state = dict(version=1, name=name, pid=pid, startTime=start, bootId=boot, path="/x", store="x", readonly=False)
json.dump(state, open(folder + "/state.json", "w"))
path = folder + "/control.sock"
def serve(answer):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    print("ready", flush=True)
    held = []
    while True:
        client, _ = server.accept()
        held.append(client)
        try: client.sendall(answer)
        except OSError: pass
`
const SILENT = `${HEADER}serve(b"")`
const ANSWERS = `${HEADER}serve(sys.stdin.buffer.read())`
const LINK = `${HEADER}os.symlink(sys.argv[4], path)\nprint("ready", flush=True)`

const started: ChildProcess[] = []

async function asUser(script: string, name: string, pid = 0, more: readonly string[] = [], input = ""): Promise<void> {
  const args = ["-c", script, String(USER), name, String(pid), ...more]
  const child = spawn("/usr/bin/python3", args, { stdio: ["pipe", "pipe", "inherit"] })
  started.push(child)
  child.stdin.end(input)
  await once(child.stdout, "data")
}

async function undo(): Promise<void> {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null) continue
    child.kill("SIGKILL")
    await once(child, "exit")
  }
  rmSync(join(HOME, "tresor"), { recursive: true, force: true })
}

/** Root as it is without a runtime directory that was named: all users' are looked at. */
const asRoot = (...args: readonly string[]): Promise<Result> =>
  run(tresorPath, args, { env: { ...place.env, TRESOR_RUNTIME_DIR: "" } })

const own = async (): Promise<{ readonly state: string; readonly pid: number }> => {
  const { stdout, stderr } = await asRoot("list", "--json")
  return JSON.parse(stdout).find(({ name }: { readonly name: string }) => name === OWN) ?? assert.fail(stderr)
}

before(async () => {
  assert.equal(process.getuid!(), 0, "run as root")
  const existed = existsSync("/run/user")
  mkdirSync(HOME, { recursive: true, mode: 0o700 })
  if (!existed) chmodSync("/run/user", 0o755)
  chownSync(HOME, USER, USER)
  const { path, keyFile } = await place.volume("own.img")
  const opened = await asRoot("open", path, OWN, "--key-file", keyFile)
  assert.equal(opened.code, 0, opened.stderr)
})

after(async () => {
  await undo()
  await asRoot("close", OWN)
  rmSync(HOME, { recursive: true, force: true })
})

test("a user's tresord that does not answer is listed as silent, and keeps root from seeing no other", async () => {
  await asUser(SILENT, "quiet")
  // Side by side: each waits for it.
  const [json, text, metrics, status, doctor] = await Promise.all([
    asRoot("list", "--json"),
    asRoot("list"),
    asRoot("metrics"),
    asRoot("status"),
    asRoot("doctor", "--json"),
  ])
  const listed: readonly { name: string; state: string; user: number }[] = JSON.parse(json.stdout)
  assert.deepEqual(
    listed.filter(({ user, name }) => user === USER || name === OWN).map(({ name, state }) => [name, state]),
    [
      [OWN, "unlocked"],
      ["quiet", "silent"],
    ],
  )
  assert.match(text.stdout, /^quiet +\d+ +silent /m)
  assert.match(metrics.stdout, new RegExp(`^tresor_volume_up{name="${OWN}",user="0"} 1$`, "m"))
  assert.match(metrics.stdout, new RegExp(`^tresor_volume_up{name="quiet",user="${USER}"} 0$`, "m"))
  assert.match(status.stdout, new RegExp(`^name: +${OWN}$`, "m"))
  assert.match(doctor.stdout, /"kept-images"/)
  await undo()
})

test("what a user's tresord answers without an end is not taken", async () => {
  await asUser(ANSWERS, "loud", 0, [], "x".repeat(1 << 20))
  assert.equal((await own()).state, "unlocked")
  await undo()
})

test("a user's link to the socket of root's volume closes and locks nothing of root's", async () => {
  const { pid } = await own()
  await asUser(LINK, "alias", pid, [`/run/tresor/${OWN}/control.sock`])
  for (const verb of ["close", "lock", "status"]) {
    const { code, stderr } = await asRoot(verb, "alias")
    assert.deepEqual([verb, code], [verb, 2], stderr)
    assert.match(
      stderr,
      new RegExp(`Cannot talk to alias: process ${pid} of user 0 answers, and its tresord is .* of user ${USER};`),
    )
  }
  assert.equal((await own()).state, "unlocked")
  await undo()
})

/** The answer to Status, with other counters. */
function answerWith(counters: Record<string, number>): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(`/run/tresor/${OWN}/control.sock`)
    let text = ""
    socket.setEncoding("utf8").on("error", reject)
    socket.write('{"method":"io.tresor.Volume.Status"}\0')
    socket.on("data", (chunk: string) => {
      text += chunk
      if (!text.endsWith("\0")) return
      socket.destroy()
      const { parameters } = JSON.parse(text.slice(0, -1))
      resolve(`${JSON.stringify({ parameters: { volume: { ...parameters.volume, counters } } })}\0`)
    })
  })
}

test("a user's counters put no line of their own into root's metrics", async () => {
  await asUser(ANSWERS, "fair", 0, [], await answerWith({ mine: 7 }))
  assert.match((await asRoot("metrics")).stdout, new RegExp(`^tresor_volume_mine{name="fair",user="${USER}"} 7$`, "m"))
  await undo()
  await asUser(ANSWERS, "forged", 0, [], await answerWith({ [`x\ntresor_volume_up{name="${OWN}",user="0"} 0\n#`]: 7 }))
  const { stdout } = await asRoot("metrics")
  assert.deepEqual(
    stdout.split("\n").filter((line) => line.startsWith(`tresor_volume_up{name="${OWN}"`)),
    [`tresor_volume_up{name="${OWN}",user="0"} 1`],
  )
  await undo()
})

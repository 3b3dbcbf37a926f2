/** tresor-lock on a bus of its own, with a logind and volumes of the test's in the place of real ones. */
import assert from "node:assert/strict"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, rmSync, symlinkSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { Place, root, until } from "../cli/harness.ts"

const place = new Place()
const RUN = place.path("r")
const children: ChildProcess[] = []
after(() => {
  for (const child of children) child.kill("SIGKILL")
})

const lock = place.path("tresor-lock")
/** What each volume is asked, and what logind and systemd are. */
const asked: string[] = []
const called: string[] = []
let environment: NodeJS.ProcessEnv = {}
let bus: ChildProcess
let logind: ChildProcess

function child(command: string, words: readonly string[], env: NodeJS.ProcessEnv, lines: string[]): ChildProcess {
  const started = spawn(command, words, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] })
  children.push(started)
  let rest = ""
  for (const stream of [started.stdout!, started.stderr!])
    stream.setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\n")
      rest = parts.pop()!
      lines.push(...parts)
    })
  return started
}

before(async () => {
  execFileSync("make", ["-s", "-C", join(root, "lock"), `OUT=${place.folder}`, `RUN=${RUN}`])
  const flags = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
  const source = join(root, "test/package/logind.c")
  execFileSync("gcc", [...flags, "-o", place.path("logind"), source, "-lsystemd"])
  const address = `unix:path=${place.path("bus")}`
  const said: string[] = []
  bus = child(
    "dbus-daemon",
    ["--session", "--nofork", "--nopidfile", `--address=${address}`, "--print-address"],
    {},
    said,
  )
  await until("the bus is there", () => said.length > 0, 60_000)
  environment = { DBUS_SYSTEM_BUS_ADDRESS: address, NOTIFY_SOCKET: "" }
  logind = child(place.path("logind"), [], environment, called)
  await until("logind is there", () => called.includes("ready"), 60_000)
})

const WIPED = '{"parameters":{"wiped":true}}\0'
const NOTHING = '{"parameters":{"wiped":false}}\0'
const REFUSED =
  '{"error":"io.tresor.Volume.Refused","parameters":{"code":"X","exitCode":4,"message":"Cannot lock bad: it is stuck"}}\0'

/** A tresord's socket; `null`: it never answers. */
async function volume(name: string, answer: string | null): Promise<void> {
  const path = join(RUN, "tresor", name)
  mkdirSync(path, { recursive: true })
  const server = createServer((socket) => {
    socket.on("error", () => {})
    socket.on("data", (bytes) => {
      asked.push(`${name} ${bytes.toString("latin1")}`)
      // In two pieces, as a stream may.
      if (answer === null) return
      socket.write(answer.slice(0, 5))
      setImmediate(() => socket.write(answer.slice(5)))
    })
  })
  server.listen(join(path, "control.sock")).unref()
  await once(server, "listening")
}

/** Says "asked" and "left"; an empty answer is none. `more`: so many names that lead to the same socket. */
const USERS = `import os, socket, sys, threading
run, user, name, answer, more = sys.argv[1:]
folder = f"{run}/user/{user}/tresor"
os.makedirs(folder, exist_ok=True)
os.chown(folder, int(user), int(user))
os.setgroups([]); os.setgid(int(user)); os.setuid(int(user)); os.chdir(folder)
os.mkdir(name)
s = socket.socket(socket.AF_UNIX)
s.bind(f"{name}/control.sock")
s.listen(4096)
for n in range(int(more)): os.symlink(name, f"{name}{n}")
def serve(c):
    if not c.recv(100): return
    os.write(1, b"asked\\n")
    if answer: c.sendall(answer.encode() + bytes(1))
    while c.recv(100): pass
    os.write(1, b"left\\n")
os.write(1, b"listens\\n")
while True: threading.Thread(target=serve, args=(s.accept()[0],)).start()`

/** A tresord's socket of another user; what it says. */
async function usersVolume(user: number, name: string, answer: string | null, more = 0): Promise<string[]> {
  const said: string[] = []
  chmodSync(place.folder, 0o755)
  const text = answer?.replace("\0", "") ?? ""
  child("python3", ["-c", USERS, RUN, String(user), name, text, String(more)], {}, said)
  await until("it listens", () => said.includes("listens"), 60_000)
  return said
}

/** tresor-lock with these words, until its end is asked for; what it says lands in `said`. */
async function running(
  words: readonly string[],
  work: (said: string[]) => Promise<void>,
  limits: readonly string[] = [],
): Promise<void> {
  const said: string[] = []
  called.length = 0
  asked.length = 0
  rmSync(RUN, { recursive: true, force: true })
  const [command, ...rest] = [...limits, lock, ...words] as [string, ...string[]]
  const started = child(command, rest, environment, said)
  await until("it watches", () => called.some((line) => line.startsWith("inhibit")), 60_000)
  try {
    await work(said)
  } finally {
    started.kill()
    await once(started, "exit")
  }
}

const tell = (line: string) => logind.stdin!.write(`${line}\n`)
const isCalled = (line: string) => until(line, () => called.includes(line), 60_000)
/** lock/volumes.c. */
const MOST_OF_USER = 256
/** Open files of tresor-lock's, where they are few. */
const FILES = 400
const CALL = '{"method":"io.tresor.Volume.Lock"}\0'

test("before a sleep all volumes are locked, then logind goes on; awake, root's that had keys are asked for", () =>
  running(["--on=sleep"], async () => {
    await volume("a", WIPED)
    await volume("b", NOTHING)
    const c = await usersVolume(1000, "c", WIPED)
    await volume(".hidden", WIPED)
    await volume("no name", WIPED)
    assert.deepEqual(called, ["inhibit sleep Tresor delay"])
    tell("sleep 1")
    await isCalled("released")
    assert.deepEqual(asked.sort(), [`a ${CALL}`, `b ${CALL}`])
    await until("the user's is asked", () => c.includes("left"), 60_000)
    assert.equal(c.filter((line) => line === "asked").length, 1)
    called.length = 0
    tell("sleep 0")
    await until("logind waits again", () => called.length === 2, 60_000)
    assert.deepEqual(called, ["start tresor-ask@a.service", "inhibit sleep Tresor delay"])
    // Sessions are not watched.
    asked.length = 0
    tell("lock")
    tell("sleep 1")
    await isCalled("released")
    assert.equal(asked.length, 2)
  }))

test("a volume that refuses or is silent does not keep the others, nor the machine awake", () =>
  running(["--on=sleep"], async () => {
    await volume("bad", REFUSED)
    await volume("silent", null)
    await volume("good", WIPED)
    const begin = Date.now()
    tell("sleep 1")
    await until("the good one is asked", () => asked.length === 3, 60_000)
    await isCalled("released")
    // It waited for the silent one.
    assert.ok(Date.now() - begin > 10_000)
    tell("sleep 0")
    await isCalled("start tresor-ask@good.service")
    assert.deepEqual(
      called.filter((line) => line.startsWith("start")),
      ["start tresor-ask@good.service"],
    )
  }))

for (const [leaves, comes] of [
  ["lock", "unlock"],
  ["hint 1", "hint 0"],
] as const)
  test(`a session: ${leaves} wipes the keys of the named volumes, ${comes} asks for them`, () =>
    running(["--on=sleep,session", "work", "odd+name"], async () => {
      await volume("work", WIPED)
      await volume("odd+name", WIPED)
      await volume("other", WIPED)
      tell(leaves)
      await until("both are asked", () => asked.length === 2, 60_000)
      tell(comes)
      await isCalled("start tresor-ask@work.service")
      // No unit has that name; its volume is left to `tresor setkey`, and nothing ends.
      await isCalled("start tresor-ask@odd+name.service")
      assert.ok(!asked.some((line) => line.startsWith("other")))
      tell("sleep 1")
      await isCalled("released")
    }))

test("--idle wipes the keys when all have been idle for so long, once, and asks when somebody is back", () =>
  running(["--on=sleep", "--idle=1"], async () => {
    await volume("work", WIPED)
    tell("idle 1")
    await until("it is asked", () => asked.length === 1, 60_000)
    tell("idle 0")
    await isCalled("start tresor-ask@work.service")
    assert.equal(asked.length, 1)
    // Nobody is logged in: idle for long, but there is no user who is away.
    tell("sessions 0")
    tell("idle 1")
    await new Promise((resolve) => setTimeout(resolve, 2500))
    assert.equal(asked.length, 1)
    tell("sessions 1")
    await until("it is asked again", () => asked.length === 2, 60_000)
    tell("idle 0")
  }))

test("another user's socket in a user's directory is not asked", () =>
  running(["--on=sleep"], async () => {
    const folder = join(RUN, "user/1000/tresor/theirs")
    mkdirSync(folder, { recursive: true })
    const said: string[] = []
    const program = `import os, socket
s = socket.socket(socket.AF_UNIX)
os.chmod("${folder}", 0o777)
os.setuid(65534)
s.bind("${folder}/control.sock")
s.listen()
print("listens", flush=True)
c, _ = s.accept()
print("got", c.recv(100), flush=True)`
    chmodSync(place.folder, 0o755)
    child("python3", ["-c", program], {}, said)
    await until("it listens", () => said.includes("listens"), 60_000)
    tell("sleep 1")
    await isCalled("released")
    await until("it was hung up on", () => said.length === 2, 60_000)
    assert.equal(said[1], "got b''")
  }))

test("a user's link to root's socket does not have root's volume locked as that user's", () =>
  running(["--on=sleep", "alias"], async () => {
    await volume("work", WIPED)
    const folder = join(RUN, "user/1000/tresor/alias")
    mkdirSync(folder, { recursive: true })
    symlinkSync(join(RUN, "tresor/work/control.sock"), join(folder, "control.sock"))
    tell("sleep 1")
    await isCalled("released")
    assert.deepEqual(asked, [])
  }))

test("a user's tresord that does not answer delays no sleep that follows a locked session", () =>
  running(["--on=sleep,session"], async () => {
    await volume("work", WIPED)
    const silent = await usersVolume(1000, "silent", null)
    tell("lock")
    await until("both are asked", () => asked.length === 1 && silent.includes("asked"), 60_000)
    tell("sleep 1")
    await until("root's is asked again", () => asked.length === 2, 60_000)
    assert.ok(!silent.includes("left"), "the silent one is still waited for")
  }))

test("a user with more sockets than there are descriptors keeps no other user's keys from being wiped", () =>
  running(["--on=sleep"], async () => {
    await volume("work", WIPED)
    const many = await usersVolume(1000, "many", NOTHING, 2 * FILES)
    // Whichever order directories have.
    const others = await Promise.all([1001, 1002, 1003, 1004].map((user) => usersVolume(user, "other", WIPED)))
    tell("sleep 1")
    await isCalled("released")
    await until("the others are asked", () => others.every((said) => said.includes("asked")), 60_000)
    assert.equal(asked.length, 1)
    await until("the many are left", () => many.filter((line) => line === "left").length === MOST_OF_USER, 60_000)
  }, ["prlimit", `--nofile=${FILES}`]))

test("what cannot be understood, or a machine without a bus, is refused with the reason", async () => {
  const refused = async (words: readonly string[], env = environment) => {
    const said: string[] = []
    const started = child(lock, words, env, said)
    const [code] = await once(started, "exit")
    await until("it says why", () => said.length > 0, 60_000)
    return `${code} ${said[0]}`
  }
  const error = "1 tresor-lock: error:"
  assert.equal(await refused(["--on=sleep,x"]), `${error} Cannot lock on x: use sleep, session, removal`)
  for (const idle of ["0", "", "x", "1x", "9999999"])
    assert.match(await refused([`--idle=${idle}`]), /^1 tresor-lock: error: Cannot use --idle=/)
  assert.match(
    await refused([], { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${place.path("none")}` }),
    /Cannot watch sessions/,
  )
})

test("when the bus ends, so does it: its unit starts it again", async () => {
  const said: string[] = []
  called.length = 0
  const started = child(lock, [], environment, said)
  await until("it watches", () => called.length > 0, 60_000)
  bus.kill()
  assert.deepEqual(await once(started, "exit"), [1, null])
})

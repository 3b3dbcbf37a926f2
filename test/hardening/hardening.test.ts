/**
 * Both programs against other processes of their user, and against what their
 * environment brings along. Each way in is tried on the same Node started
 * plainly too, where it works: a test that cannot fail shows nothing.
 */
import assert from "node:assert/strict"
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { alive, Place, root, run, until } from "../cli/harness.ts"

const place = new Place()
/** Readable for everybody, unlike a checkout may be. */
const folder = mkdtempSync(join(tmpdir(), "tresor-hardening-"))
after(() => rmSync(folder, { recursive: true, force: true }))
const plain = join(folder, "plain-node")
const attacker = join(folder, "attacker.py")
const probed = join(folder, "probed/tresor")
const stub = join(folder, "stub/tresor")
const library = join(folder, "preload.so")
const arrivals = join(folder, "arrivals")

async function ok(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const done = await run(command, args, { env })
  assert.equal(done.code, 0, `${command} ${args.join(" ")}: ${done.stderr}`)
  return done.stdout
}

before(async () => {
  chmodSync(folder, 0o755)
  copyFileSync(process.execPath, plain)
  const sources = join(root, "test/hardening")
  copyFileSync(join(sources, "attacker.py"), attacker)
  const probe = join(folder, "probe")
  await ok("gcc", ["-static", "-o", probe, join(sources, "probe.c")])
  await ok("gcc", ["-shared", "-fPIC", "-o", library, join(sources, "preload.c")])
  for (const [name, node] of [
    ["probed", probe],
    ["stub", process.execPath],
  ] as const) {
    mkdirSync(join(folder, name), { mode: 0o755 })
    await ok("make", ["-s", "-C", join(root, "launcher"), `OUT=${join(folder, name)}`, `NODE=${node}`])
  }
  writeFileSync(join(folder, "stub/tresor.cjs"), "setTimeout(() => {}, 400)")
})

/** Root and an ordinary user; only the latter where the test is not run as root. */
const users = process.getuid!() === 0 ? [0, 65534] : [process.getuid!()]
const as = async (uid: number, words: readonly string[], env: NodeJS.ProcessEnv = {}) => {
  if (uid === process.getuid!()) return run(words[0]!, words.slice(1), { env })
  const script =
    "import os,sys;u=int(sys.argv[1]);os.setgroups([]);os.setresgid(u,u,u);os.setresuid(u,u,u);os.execv(sys.argv[2],sys.argv[2:])"
  return run("/usr/bin/python3", ["-c", script, String(uid), ...words], { env })
}

const STEERING = {
  NODE_OPTIONS: "--inspect=127.0.0.1:0",
  NODE_PATH: "/tmp",
  NODE_COMPILE_CACHE: "/tmp",
  NODE_EXTRA_CA_CERTS: "/tmp/x",
  NODE_V8_COVERAGE: "/tmp",
  NODE_CHANNEL_FD: "3",
  UV_THREADPOOL_SIZE: "1",
  LD_LIBRARY_PATH: "/tmp",
  GLIBC_TUNABLES: "glibc.malloc.check=1",
  GCONV_PATH: "/tmp",
  LOCPATH: "/tmp",
  MALLOC_TRACE: "/tmp/x",
  OPENSSL_CONF: "/tmp/x",
  OPENSSL_MODULES: "/tmp",
  SSL_CERT_FILE: "/tmp/x",
  SSLKEYLOGFILE: "/tmp/x",
  RES_OPTIONS: "debug",
}

for (const uid of users)
  test(`Node's first instruction, uid ${uid}: not dumpable, no core, no steering variable, SIGUSR1 held back`, async () => {
    const env = { ...STEERING, LD_PRELOAD: library, LD_AUDIT: library, SSH_AUTH_SOCK: "/kept", NODELIKE: "kept" }
    const { code, stdout, stderr } = await as(uid, [probed, "--inspect", "status"], env)
    assert.equal(code, 0, stderr)
    const lines = stdout.split("\n")
    assert.deepEqual(lines.slice(0, 2), ["dumpable 0", "core 0 0"])
    assert.deepEqual(
      lines.filter((line) => line.startsWith("argument ")),
      ["tresor", "--disable-sigusr1", join(folder, "probed/tresor.cjs"), "--inspect", "status"].map(
        (w) => `argument ${w}`,
      ),
    )
    const variables = lines.filter((line) => line.startsWith("variable ")).map((line) => line.slice(9).split("=")[0])
    assert.deepEqual(
      variables.filter((name) => /^(LD_|NODE_|UV_|GLIBC|GCONV|LOCPATH|MALLOC|OPENSSL|SSL)|^RES_OPTIONS$/.test(name!)),
      [],
    )
    assert.ok(variables.includes("SSH_AUTH_SOCK") && variables.includes("NODELIKE") && variables.includes("PATH"))
    const [, blocked] = /SigBlk:\s+(\w+)/.exec(stdout)!
    assert.equal(BigInt(`0x${blocked}`) & (1n << 9n), 1n << 9n)
    // execve has given root back what the launcher gave up.
    const [, effective] = /CapEff:\s+(\w+)/.exec(stdout)!
    assert.equal((BigInt(`0x${effective}`) & 6n) === 6n, uid === 0)
  })

async function attack(
  way: string,
  uid: number,
  command: readonly string[],
): Promise<{ reached: number; exit: string }> {
  const { stdout, stderr } = await run("/usr/bin/python3", [attacker, way, String(uid), ...command])
  const found = /^reached (-?\d+) exit (\w+)$/m.exec(stdout)
  assert.ok(found, stderr)
  return { reached: Number(found[1]), exit: found[2]! }
}

for (const uid of users) {
  test(`/proc/PID/mem can be opened at no moment, uid ${uid}`, async () => {
    const control = await attack("mem", uid, [plain, join(folder, "stub/tresor.cjs")])
    assert.ok(control.reached > 0, "the attack does not even work on a plain Node")
    for (let round = 0; round < 3; round++)
      assert.deepEqual(await attack("mem", uid, [stub]), { reached: 0, exit: "0" })
  })

  test(`SIGUSR1 at any moment opens no inspector and ends nothing, uid ${uid}`, async () => {
    // The child of another user's cannot be looked into by its files; root looks for both.
    if (uid === process.getuid!()) {
      const control = await attack("usr1", uid, [plain, join(folder, "stub/tresor.cjs")])
      assert.ok(control.reached > 0 || control.exit === "signal", "the attack does not even work on a plain Node")
    }
    assert.deepEqual(await attack("usr1", uid, [stub]), { reached: 0, exit: "0" })
  })

  test(`a process that is traced from the start refuses, uid ${uid}`, async () => {
    assert.deepEqual(await attack("trace", uid, [plain, join(folder, "stub/tresor.cjs")]), { reached: 0, exit: "0" })
    assert.deepEqual(await attack("trace", uid, [stub]), { reached: 0, exit: "2" })
  })
}

for (const program of ["tresor", "tresord"])
  test(`${program} under strace: exit code 2, one line, and what to do`, async () => {
    const words = ["-f", "-qq", "-o", "/dev/null", join(root, "dist", program), "--version"]
    const { code, stdout, stderr } = await run("strace", words)
    assert.deepEqual([code, stdout], [2, ""])
    assert.match(
      stderr,
      new RegExp(`^${program}: error: cannot start: process \\d+ traces this one.*; run it without strace or gdb\\n$`),
    )
  })

test("started without the launcher the programs refuse", async () => {
  for (const program of ["tresor", "tresord"]) {
    const { code, stdout, stderr } = await run(process.execPath, [join(root, `dist/${program}.cjs`), "--version"])
    assert.deepEqual([code, stdout], [2, ""])
    assert.match(
      stderr,
      new RegExp(`^${program}: error: Cannot start ${program}: other processes of this user could [^\\n]*\\n$`),
    )
  }
})

/** What would bring code into a Node; each leaves a trace in `arrivals`, or in the output. */
function intruders(): Record<string, NodeJS.ProcessEnv> {
  const script = join(folder, "intruder.cjs")
  writeFileSync(script, `require("node:fs").appendFileSync(${JSON.stringify(arrivals)}, process.execPath + "\\n")`)
  const module = join(folder, "libintruder.so")
  copyFileSync(library, module)
  const configuration = join(folder, "openssl.cnf")
  writeFileSync(
    configuration,
    `nodejs_conf = n\n[n]\nengines = e\n[e]\nintruder = i\n[i]\ndynamic_path = ${module}\nengine_id = intruder\ninit = 0\n`,
  )
  return {
    "NODE_OPTIONS --require": { NODE_OPTIONS: `--require ${script}` },
    "NODE_OPTIONS --import": { NODE_OPTIONS: `--import file://${script}` },
    LD_PRELOAD: { LD_PRELOAD: library, ARRIVALS: arrivals },
    LD_AUDIT: { LD_AUDIT: library, ARRIVALS: arrivals },
    OPENSSL_CONF: { OPENSSL_CONF: configuration, ARRIVALS: arrivals },
  }
}

/** Programs that foreign code got into since the last call. */
function arrived(): string[] {
  const text = existsSync(arrivals) ? readFileSync(arrivals, "utf8") : ""
  rmSync(arrivals, { force: true })
  return text.split("\n").filter((line) => line.endsWith("node"))
}

for (const way of ["NODE_OPTIONS --require", "NODE_OPTIONS --import", "LD_PRELOAD", "LD_AUDIT", "OPENSSL_CONF"])
  test(`${way} brings no code into tresor or tresord`, async () => {
    const env = intruders()[way]!
    arrived()
    await run(plain, ["-e", "0"], { env })
    assert.deepEqual(arrived(), [plain], "the intruder does not even work on a plain Node")
    const { path, keyFile } = await place.volume(`${way.replaceAll(" ", "")}.img`)
    arrived()
    const opened = await place.tresor(["open", path, "work", "--key-file", keyFile], { env })
    assert.equal(opened.code, 0, opened.stderr)
    assert.deepEqual(arrived(), [])
    assert.equal((await place.tresor(["close", "work"])).code, 0)
  })

/** Local TCP ports that `pid` listens on. Needs root, or the process to be readable. */
async function listening(pid: number): Promise<string[]> {
  const { stdout } = await run("sh", ["-c", `ls -l /proc/${pid}/fd`])
  const inodes = new Set([...stdout.matchAll(/socket:\[(\d+)\]/g)].map((found) => found[1]))
  const rows = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) => readFileSync(table, "utf8").split("\n").slice(1))
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter((row) => row[3] === "0A" && inodes.has(row[9]))
    .map((row) => row[1]!)
}

test("the real tresord: signals open no port, and a debugger of its user is refused", async () => {
  const { path, keyFile } = await place.volume("real.img")
  const opened = await place.tresor(["open", path, "real", "--key-file", keyFile], {
    env: { NODE_OPTIONS: "--inspect=127.0.0.1:0" },
  })
  assert.equal(opened.code, 0, opened.stderr)
  assert.ok(!/Debugger/.test(opened.stderr))
  const { pid } = place.state("real")
  const log = join(place.runtime, "real/log")
  for (let i = 0; i < 20; i++) process.kill(pid, "SIGUSR1")
  await until("SIGUSR1 is answered with the counters", () => readFileSync(log, "utf8").includes("counters"))
  assert.ok(alive(pid))
  assert.deepEqual(await listening(pid), [])
  assert.match(readFileSync(`/proc/${pid}/limits`, "utf8"), /^Max core file size +0 +0 /m)
  assert.match(readFileSync(`/proc/${pid}/comm`, "latin1"), /^tresord/)
  await place.tresor(["close", "real"])
})

test("with too few open files the programs say so, with just enough they work", async () => {
  const { path, keyFile } = await place.volume("few.img")
  const limited = (files: number, ...words: string[]) =>
    run("prlimit", [`--nofile=${files}`, join(root, "dist/tresor"), ...words], { env: place.env })
  const refused = await limited(20, "open", path, "few", "--key-file", keyFile)
  assert.deepEqual([refused.code, refused.stdout], [4, ""])
  assert.match(
    refused.stderr,
    /^tresor: error: cannot start: only 20 open files are allowed and 40 are needed; [^\n]+\n$/,
  )
  const opened = await limited(40, "open", path, "few", "--key-file", keyFile)
  assert.equal(opened.code, 0, opened.stderr)
  assert.equal((await limited(40, "close", "few")).code, 0)
})

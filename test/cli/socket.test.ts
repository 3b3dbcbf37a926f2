/** `open --socket`: a place that clients of other users can reach. As root. */
import assert from "node:assert/strict"
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { alive, Place, run, until } from "./harness.ts"

const place = new Place()
// Not below /tmp, which everybody can write to.
const folder = mkdtempSync("/run/tresor-test-")
const socket = join(folder, "work.sock")
let path = ""
let keyFile = ""

before(async () => {
  chmodSync(folder, 0o711)
  ;({ path, keyFile } = await place.volume("disk.img"))
})
after(() => rmSync(folder, { recursive: true, force: true }))

const open = (name: string, ...more: readonly string[]) =>
  place.tresor(["open", path, name, "--key-file", keyFile, ...more])
const modeOf = (file: string) => [lstatSync(file).mode & 0o7777, lstatSync(file).gid]

/** A client of another user, in that group. */
const client = (gid: number) =>
  run("setpriv", [
    "--reuid=65534",
    `--regid=${gid}`,
    "--clear-groups",
    "nbdinfo",
    "--size",
    `nbd+unix:///?socket=${socket}`,
  ])

test("a client of the socket's group is served, one of another is not; a close removes the socket", async () => {
  const opened = await open("work", "--socket", socket, "--socket-group", "daemon", "--socket-mode", "0660")
  assert.equal(opened.code, 0, opened.stderr)
  assert.equal(opened.stdout, `nbd+unix:///?socket=${socket}\n`)
  assert.deepEqual(modeOf(socket), [0o660, 1])
  const inside = await client(1)
  assert.equal(inside.code, 0, inside.stderr)
  const outside = await client(65534)
  assert.notEqual(outside.code, 0)
  assert.match(outside.stderr, /Permission denied/)
  assert.equal(existsSync(join(place.runtime, "work", "nbd.sock")), false)
  assert.equal(JSON.parse((await place.tresor(["status", "work", "--json"])).stdout).socket, socket)
  assert.equal((await place.tresor(["close", "work"])).code, 0)
  assert.equal(existsSync(socket), false)
})

test("vhost-user has its socket there too; without a group it is the user's own", async () => {
  const opened = await open("work", "--vhost-user", "--socket", socket)
  assert.equal(opened.code, 0, opened.stderr)
  assert.equal(opened.stdout, `${socket}\n`)
  assert.deepEqual(modeOf(socket), [0o600, 0])
  assert.equal((await place.tresor(["close", "work"])).code, 0)
  assert.equal(existsSync(socket), false)
})

test("what a tresord left that was killed is replaced; a socket that answers is in use", async () => {
  assert.equal((await open("work", "--socket", socket)).code, 0)
  const other = await place.volume("other.img")
  const args = ["open", other.path, "other", "--key-file", other.keyFile, "--socket", socket]
  const refused = await place.tresor(args)
  assert.equal(refused.code, 5)
  assert.match(refused.stderr, /Cannot serve on [^\n]+: another process serves there/)
  const { pid } = place.state("work")
  process.kill(pid, "SIGKILL")
  await until("it is gone", () => !alive(pid), 60_000)
  assert.ok(existsSync(socket))
  const replaced = await place.tresor(args)
  assert.equal(replaced.code, 0, replaced.stderr)
  assert.equal((await place.tresor(["close", "other"])).code, 0)
})

test("a place where somebody else could put another socket is refused, and nothing is left", async () => {
  const theirs = join(folder, "theirs")
  mkdirSync(theirs)
  chownSync(theirs, 65534, 65534)
  const shared = join(folder, "shared")
  mkdirSync(shared)
  chmodSync(shared, 0o1777)
  const inside = join(theirs, "inside")
  mkdirSync(inside)
  symlinkSync(theirs, join(folder, "link"))
  writeFileSync(join(folder, "file"), "kept")
  for (const [at, code, fact] of [
    [join(theirs, "x"), 2, /theirs belongs to user 65534, who could put another socket there/],
    [join(inside, "x"), 2, /theirs belongs to user 65534/],
    [join(folder, "link", "x"), 2, /theirs belongs to user 65534/],
    [join(shared, "x"), 2, /others can write to [^\n]+shared/],
    [join(folder, "none", "x"), 2, /none is not a directory; make it first/],
    [join(folder, "file"), 2, /it exists and is not a socket/],
    [join(folder, "x".repeat(100)), 2, /the limit is 107/],
  ] as const) {
    const refused = await open("work", "--socket", at)
    assert.equal(refused.code, code, refused.stderr)
    assert.match(refused.stderr, fact)
    assert.deepEqual(place.names(), [])
  }
  // One of another user, that nobody serves.
  const left = join(folder, "left")
  const made = await run("python3", [
    "-c",
    `import socket; socket.socket(socket.AF_UNIX).bind(${JSON.stringify(left)})`,
  ])
  assert.equal(made.code, 0, made.stderr)
  chownSync(left, 65534, 65534)
  const refused = await open("work", "--socket", left)
  assert.match(refused.stderr, /it belongs to user 65534/)
  assert.equal(existsSync(left), true)
})

test("a group that cannot be given closes the volume again; a directory of that group needs no right for it", async () => {
  const as = (name: string, at: string) =>
    run(
      "setpriv",
      ["--bounding-set=-chown", "--inh-caps=-chown", `${import.meta.dirname}/../../tresor`].concat([
        ...[
          "open",
          path,
          name,
          "--key-file",
          keyFile,
          "--socket",
          at,
          "--socket-group",
          "daemon",
          "--socket-mode",
          "0660",
        ],
      ]),
      { env: place.env },
    )
  const refused = await as("work", socket)
  assert.equal(refused.code, 2, refused.stderr)
  assert.match(refused.stderr, /Cannot give [^\n]+ to group 1: EPERM; use a directory of that group with mode 2711/)
  assert.deepEqual(place.names(), [])
  assert.equal(existsSync(socket), false)
  const groups = join(folder, "groups")
  mkdirSync(groups)
  chownSync(groups, 0, 1)
  chmodSync(groups, 0o2711)
  const opened = await as("work", join(groups, "work.sock"))
  assert.equal(opened.code, 0, opened.stderr)
  assert.deepEqual(modeOf(join(groups, "work.sock")), [0o660, 1])
  assert.equal((await place.tresor(["close", "work"])).code, 0)
})

test("options that do not fit are refused", async () => {
  for (const [args, fact] of [
    [["--socket", socket, "--socket-mode", "0666"], /0666 is not a mode for the socket; use 0600 or 0660/],
    [["--socket", socket, "--socket-group", "no-such-group"], /no such group/],
    [["--socket-group", "daemon"], /--socket-group and --socket-mode need --socket/],
    [["--socket-mode", "0660"], /--socket-group and --socket-mode need --socket/],
    [["--socket", socket, "--block"], /--socket and --block exclude each other/],
  ] as const) {
    const { code, stderr } = await open("work", ...args)
    assert.equal(code, 1, stderr)
    assert.match(stderr, fact)
    assert.deepEqual(place.names(), [])
  }
})

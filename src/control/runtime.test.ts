import assert from "node:assert/strict"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, beforeEach, test } from "node:test"
import { Exit, TresorError } from "../base/errors.ts"
import { readRecords } from "../mount/layers.ts"
import {
  checkName,
  claimName,
  isLive,
  liveNames,
  processStart,
  readState,
  releaseName,
  runtimePaths,
} from "./runtime.ts"
import { prepareRoot, runtimeRoot } from "./runtime-root.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-runtime-"))
after(() => rmSync(folder, { recursive: true }))
let root = ""
let roots = 0
beforeEach(() => {
  root = join(folder, String(++roots))
})

const refused = (code: string, exitCode: number) => (error: unknown) =>
  error instanceof TresorError && error.code === code && error.exitCode === exitCode

test("the root: chosen, root's, the session's, and never in /tmp", () => {
  assert.equal(runtimeRoot({ TRESOR_RUNTIME_DIR: "/a", XDG_RUNTIME_DIR: "/b" }, 0), "/a")
  assert.equal(runtimeRoot({ XDG_RUNTIME_DIR: "/b" }, 0), "/run/tresor")
  assert.equal(runtimeRoot({ XDG_RUNTIME_DIR: "/b" }, 1000), "/b/tresor")
  for (const env of [{}, { XDG_RUNTIME_DIR: "" }, { XDG_RUNTIME_DIR: "relative" }]) {
    assert.throws(() => runtimeRoot(env, 4_000_000), refused("RUNTIME_UNKNOWN", Exit.badArguments))
  }
})

test("a relative root is one of this directory, and links are resolved once", () => {
  mkdirSync(root)
  symlinkSync(root, `${root}-link`)
  assert.equal(runtimeRoot({ TRESOR_RUNTIME_DIR: `${root}-link/later/run` }), join(realpathSync(root), "later/run"))
  assert.equal(runtimeRoot({ TRESOR_RUNTIME_DIR: "some/run" }), join(process.cwd(), "some/run"))
})

/** Everything that takes something from the root on trust. */
const readers: Readonly<Record<string, (root: string) => unknown>> = {
  prepareRoot,
  readState: (path) => readState(path, "work"),
  liveNames,
  claimName: (path) => claimName(path, "other", "/other.img", false),
  releaseName: (path) => releaseName(path, "work"),
  readRecords,
}

/** Makes `root` private and ours, with a volume in it; then something about it is changed. */
const unfit: Readonly<Record<string, (root: string) => string>> = {
  "that others can enter": (path) => {
    chmodSync(path, 0o711)
    return path
  },
  "that is a link": (path) => {
    symlinkSync(path, `${path}-link`)
    return `${path}-link`
  },
  "in a directory that others can write": (path) => {
    const around = `${path}-around`
    mkdirSync(around)
    chmodSync(around, 0o777)
    renameSync(path, join(around, "run"))
    return join(around, "run")
  },
  "in a directory that a group can write": (path) => {
    const around = `${path}-group`
    mkdirSync(around)
    chmodSync(around, 0o770)
    renameSync(path, join(around, "run"))
    return join(around, "run")
  },
}

for (const [what, change] of Object.entries(unfit))
  for (const [reader, read] of Object.entries(readers))
    test(`${reader} refuses a root ${what}`, () => {
      claimName(root, "work", "/disk.img", false)
      const changed = change(root)
      assert.throws(() => read(changed), refused("RUNTIME_NOT_PRIVATE", Exit.denied))
    })

for (const [reader, read] of Object.entries(readers))
  test(`${reader} refuses a root of another user, and one below his directory`, () => {
    if (process.getuid!() !== 0) {
      assert.throws(() => read("/usr"), refused("RUNTIME_NOT_PRIVATE", Exit.denied))
      return
    }
    claimName(root, "work", "/disk.img", false)
    chownSync(root, 65534, 65534)
    assert.throws(() => read(root), refused("RUNTIME_NOT_PRIVATE", Exit.denied))
    const around = `${root}-theirs`
    mkdirSync(around)
    chownSync(root, 0, 0)
    renameSync(root, join(around, "run"))
    chownSync(around, 65534, 65534)
    assert.throws(() => read(join(around, "run")), refused("RUNTIME_NOT_PRIVATE", Exit.denied))
  })

test("a sticky directory around the root will do: nobody else renames there", () => {
  const around = `${root}-sticky`
  mkdirSync(around)
  chmodSync(around, 0o1777)
  prepareRoot(join(around, "run"))
})

test("a state.json that is a link, a FIFO, or that others can write is not believed", () => {
  const { state } = claimName(root, "work", "/disk.img", false)
  const elsewhere = `${root}-state.json`
  renameSync(state, elsewhere)
  symlinkSync(elsewhere, state)
  assert.equal(readState(root, "work"), "damaged")
  rmSync(state)
  execFileSync("mkfifo", ["-m", "600", state])
  assert.equal(readState(root, "work"), "damaged")
  rmSync(state)
  renameSync(elsewhere, state)
  assert.equal(isLive(readState(root, "work")), true)
  chmodSync(state, 0o666)
  assert.equal(readState(root, "work"), "damaged")
  chmodSync(state, 0o600)
  chmodSync(join(root, "work"), 0o755)
  assert.equal(readState(root, "work"), "damaged")
})

test("names that could leave the root, or be an option, are none", () => {
  for (const name of ["work", "a.b", "a:b+c@d-e", "_", "9", "x".repeat(127)]) checkName(name)
  for (const name of ["", ".", "..", ".a", "-a", "a/b", "../a", "a b", "a\0", "a\n", "ä", "x".repeat(128)]) {
    assert.throws(() => checkName(name), refused("NAME_INVALID", Exit.badArguments), JSON.stringify(name))
  }
})

test("a socket's path of 107 bytes fits, of 108 does not", () => {
  const long = `/${"r".repeat(107 - "/".length - "/n/control.sock".length)}`
  assert.equal(runtimePaths(long, "n").control.length, 107)
  assert.throws(() => runtimePaths(`${long}r`, "n"), refused("NAME_TOO_LONG", Exit.badArguments))
})

test("a claimed name is ours, private and listed; it cannot be claimed again; released it is gone", () => {
  const paths = claimName(root, "work", "/disk.img", false)
  assert.equal(statSync(paths.directory).mode & 0o777, 0o700)
  assert.equal(statSync(paths.state).mode & 0o777, 0o600)
  assert.equal(isLive(readState(root, "work")), true)
  assert.deepEqual(liveNames(root), ["work"])
  assert.throws(() => claimName(root, "work", "/other.img", false), refused("NAME_IN_USE", Exit.busy))
  releaseName(root, "work")
  assert.equal(existsSync(paths.directory), false)
  assert.deepEqual(liveNames(root), [])
})

test("one file under two names: two readers share it, a writer does not", () => {
  const disk = join(folder, "disk.img")
  const link = join(folder, "link.img")
  writeFileSync(disk, "")
  symlinkSync(disk, link)
  claimName(root, "one", disk, true)
  claimName(root, "two", link, true)
  assert.throws(() => claimName(root, "three", link, false), refused("VOLUME_IN_USE", Exit.busy))
})

/** Edits the state of a claimed name. */
function alter(change: object): void {
  const { state } = runtimePaths(root, "work")
  writeFileSync(state, JSON.stringify({ ...JSON.parse(readFileSync(state, "utf8")), ...change }))
}

for (const [what, change] of [
  ["of another boot", { bootId: "00000000-0000-0000-0000-000000000000" }],
  ["whose PID was given to another process", { startTime: "1" }],
  ["of a process that is gone", { pid: 0x3fffff }],
  ["of a version to come", { version: 2 }],
] as const) {
  test(`a state ${what} is stale: not listed, cleared by the next claim`, () => {
    const paths = claimName(root, "work", "/disk.img", false)
    writeFileSync(paths.nbd, "")
    alter(change)
    assert.equal(isLive(readState(root, "work")), false)
    assert.deepEqual(liveNames(root), [])
    claimName(root, "work", "/disk.img", false)
    assert.equal(existsSync(paths.nbd), false)
    assert.deepEqual(liveNames(root), ["work"])
  })
}

test("a directory that is another process' by now is not released", () => {
  const paths = claimName(root, "work", "/disk.img", false)
  alter({ pid: 1 })
  releaseName(root, "work")
  assert.equal(existsSync(paths.directory), true)
})

test("a process has one start time while it lives and none after", async () => {
  const child = spawn("sleep", ["60"])
  await once(child, "spawn")
  const start = processStart(child.pid!)
  assert.match(start ?? "", /^\d+$/)
  assert.equal(processStart(child.pid!), start)
  child.kill("SIGKILL")
  await once(child, "close")
  assert.equal(processStart(child.pid!), null)
})

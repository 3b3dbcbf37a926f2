/** What Node does not offer: locks, limits, systemd, peers, the terminal. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { flock, notifySystemd, peerCredentials, readPassphrase } from "../native/addon.ts"
import { withCode } from "../testing/contract.ts"

/** Runs a module's text in a process of its own. */
function spawn(script: string) {
  return spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    encoding: "utf8",
  })
}

test("flock excludes, shares and does not wait when told so", () => {
  const folder = mkdtempSync(join(tmpdir(), "tresor-native-"))
  const open = () => openSync(join(folder, "lock"), "a")
  const [a, b] = [open(), open()]
  try {
    assert.equal(flock(a, "exclusive"), true)
    assert.equal(flock(b, "shared", { wait: false }), false)
    assert.equal(flock(a, "shared"), true)
    assert.equal(flock(b, "shared", { wait: false }), true)
    assert.equal(flock(b, "exclusive", { wait: false }), false)
  } finally {
    closeSync(a)
    closeSync(b)
    rmSync(folder, { recursive: true })
  }
  assert.throws(() => flock(-1, "exclusive"), withCode("EBADF"))
})

test("a hardened process leaves no core", () => {
  const { stdout, stderr } = spawn(`
    import { readFileSync } from "node:fs"
    const { hardenProcess } = await import("../native/addon.ts")
    hardenProcess("test")
    process.stdout.write(readFileSync("/proc/self/limits", "utf8"))`)
  assert.match(stdout, /^Max core file size +0 +0 /m, stderr)
})

test("notifySystemd says nothing without a socket to say it to", () => {
  const before = process.env["NOTIFY_SOCKET"]
  try {
    delete process.env["NOTIFY_SOCKET"]
    assert.equal(notifySystemd("READY=1"), false)
    process.env["NOTIFY_SOCKET"] = "/nonexistent/notify"
    assert.equal(notifySystemd("READY=1"), false)
  } finally {
    if (before === undefined) delete process.env["NOTIFY_SOCKET"]
    else process.env["NOTIFY_SOCKET"] = before
  }
})

test("peerCredentials names this process on its own socket, and refuses what is no socket", async () => {
  const path = `\0tresor-native-${process.pid}`
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(path, resolve))
  const socket = connect(path)
  try {
    await new Promise((resolve) => socket.once("connect", resolve))
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
    const { pid, uid, gid } = peerCredentials(fd)
    assert.deepEqual([pid, uid, gid], [process.pid, process.getuid!(), process.getgid!()])
  } finally {
    socket.destroy()
    server.close()
  }
  assert.throws(() => peerCredentials(-1), withCode("EBADF"))
})

test("a passphrase needs sensible limits", async () => {
  await assert.rejects(readPassphrase("", 0, 0), { code: "PASSPHRASE_ERR_INVALID_ARG_TYPE" })
})

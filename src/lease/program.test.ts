/** How a lease program is called, and what is made of each way in which it ends. */
import assert from "node:assert/strict"
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { describeOwner, leaseProgram, newOwner } from "./program.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-lease-"))
after(() => rmSync(folder, { recursive: true }))
const OWNER = "here:1:fedcba9876543210"
const LIMIT_MS = 60_000
let programs = 0

function program(script: string) {
  const path = join(folder, `program-${programs++}`)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return leaseProgram(`${path}:pool/image:with:colons`, OWNER, 60)
}

test("it gets the action, the address, the owner and the time, and nothing to read", async () => {
  const { run } = program('printf "%s|" "$@"; cat')
  assert.deepEqual(await run("acquire", LIMIT_MS), {
    kind: "done",
    said: `acquire|pool/image:with:colons|${OWNER}|60|`,
  })
})

test("5 says that another has it: with its name and time, or without, or with what is neither", async () => {
  const said = async (script: string) => program(script).run("renew", LIMIT_MS)
  assert.deepEqual(await said("echo owner=far:9:00; echo seconds=41; exit 5"), {
    kind: "other",
    owner: "far:9:00",
    seconds: 41,
  })
  assert.deepEqual(await said("exit 5"), { kind: "other", owner: null, seconds: null })
  assert.deepEqual(await said("echo seconds=-3; echo owner=; exit 5"), { kind: "other", owner: null, seconds: null })
  const long = await said("echo owner=$(printf %01000d 0); exit 5")
  assert.equal(long.kind === "other" && long.owner?.length, 200)
})

test("5 of an action that nobody else can win is a failure", async () => {
  assert.deepEqual(await program("exit 5").run("fence", LIMIT_MS), { kind: "failed", reason: "fence ended with 5" })
})

test("every other end is a failure: the last line of what it said, or how it ended", async () => {
  const reason = async (script: string) => {
    const outcome = await program(script).run("renew", LIMIT_MS)
    return outcome.kind === "failed" ? outcome.reason : outcome
  }
  assert.equal(await reason("echo first >&2; echo last >&2; exit 1"), "last")
  assert.equal(await reason("exit 3"), "renew ended with 3")
  assert.equal(await reason("kill -9 $$"), "renew was killed by SIGKILL")
  assert.equal(await reason("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2; exit 1"), "last")
  const missing = await leaseProgram(`${folder}/absent:x`, OWNER, 60).run("renew", LIMIT_MS)
  assert.match(missing.kind === "failed" ? missing.reason : "", /ENOENT/)
})

test("one that hangs is killed with what it started, and has failed", async () => {
  const file = join(folder, "pids")
  const hanging = program(`sleep 1000 & echo $$ $! > ${file}.new && mv ${file}.new ${file}; wait`)
  let limit = 100
  // On a busy machine it may not have come so far.
  while (!existsSync(file)) {
    const outcome = await hanging.run("renew", limit)
    assert.deepEqual(outcome, { kind: "failed", reason: `renew did not end within ${limit / 1000} s` })
    limit *= 2
  }
  const gone = (pid: string) => {
    try {
      return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"))
    } catch {
      return true
    }
  }
  for (const pid of readFileSync(file, "latin1").trim().split(" ")) {
    while (!gone(pid)) await new Promise((resolve) => setTimeout(resolve, 5))
  }
})

test("a lease without a program or an address is refused", () => {
  for (const words of ["ceph", "ceph:", ":rbd/x", "nonesuch:rbd/x", "../units/x:y", "Ceph:rbd/x"]) {
    assert.throws(() => leaseProgram(words, OWNER, 60), { code: "USAGE", exitCode: 1 }, words)
  }
  assert.equal(leaseProgram("ceph:rbd/x", OWNER, 60).name, "ceph:rbd/x")
})

test("owners differ, and are described by machine and process", () => {
  const owner = newOwner()
  assert.notEqual(owner, newOwner())
  assert.match(owner, /^[A-Za-z0-9.-]+:\d+:[0-9a-f]{16}$/)
  assert.match(describeOwner(owner), new RegExp(`^\\S+ \\(process ${process.pid}\\)$`))
  assert.equal(describeOwner("somebody"), "somebody")
})

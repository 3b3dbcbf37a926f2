/** What is left in memory when an enclave has ended, and what its memory turns out to be made of. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { afterEach, test } from "node:test"
import { fileURLToPath } from "node:url"
import type { NativeEnclave } from "../native/addon.ts"
import { createFake, fake } from "../testing/fake-sgx.ts"
import { callRequest, LOST, loadEnclave, SITE, startEnclave } from "../testing/native.ts"
import { real } from "../testing/real-image.ts"
import { EnclaveClient } from "./client.ts"

const program = fileURLToPath(new URL("../testing/remains.ts", import.meta.url))

/** `locked`: bytes that may be locked, and no right to have more. */
function run(args: readonly string[], { locked }: { readonly locked?: number } = {}) {
  const node = [process.execPath, program, ...args]
  const bounded = process.getuid!() === 0 ? ["setpriv", "--bounding-set=-sys_resource,-ipc_lock"] : []
  const limits = ["prlimit", "--nofile=200:200", ...(locked === undefined ? [] : [`--memlock=${locked}:${locked}`])]
  const [command = "", ...rest] = [...limits, ...(locked === undefined ? [] : bounded), ...node]
  const { stdout, stderr } = spawnSync(command, rest, { encoding: "utf8" })
  assert.notEqual(stdout, "", stderr)
  return JSON.parse(stdout)
}

for (const end of ["destroyed", "faulted", "dead"]) {
  const ended = (result: ReturnType<typeof run>) => {
    assert.equal(result.status, 0)
    assert.equal(result.alive, false)
    assert.ok(result.mapped > 5)
    assert.deepEqual(result.mappings, [])
    assert.match(result.fault ?? "", { destroyed: /^$/, faulted: /#UD/, dead: /self-test/ }[end]!)
  }

  test(`nothing of an enclave that was ${end} remains mapped, or in pages that somebody else holds`, () => {
    const secret = run(["remains", end])
    ended(secret)
    const locked = run(["remains", end, "without files"])
    ended(locked)
    const plain = run(["remains", end], { locked: 0 })
    ended(plain)
    assert.deepEqual(plain.memory, { keys: "plain", stacks: "plain", heap: "plain" })
    assert.notEqual(locked.memory.keys, "memfd_secret")
    for (const { memory, before, after } of [secret, locked, plain]) {
      // Pages of memfd_secret are lent to nobody, and cleared by the kernel.
      const none = memory.keys === "memfd_secret"
      assert.deepEqual(before, Array(3).fill(none ? null : "what was"))
      assert.deepEqual(after, Array(3).fill(none ? null : "\0".repeat(8)))
    }
  })
}

test("a heap that comes back weaker after a trim is told, and stays told", () => {
  const limit = run(["downgrade", "limit"], { locked: 4 << 20 })
  assert.notEqual(limit.before.heap, "plain")
  assert.deepEqual([limit.after.heap, limit.status], ["plain", 0])
  assert.equal(limit.after.keys, limit.before.keys)

  // Where the kernel has memfd_secret, that is what there was.
  const files = run(["downgrade", "files"])
  assert.notEqual(files.weaker.heap, "memfd_secret")
  assert.equal(files.weaker.keys, files.before.keys)
  assert.deepEqual(files.after, files.weaker, "the heap is good again, but what was in it may have been swapped out")
})

test("what a client says of the enclave's memory is what it is now", async () => {
  const made = real()
  const native = loadEnclave(made)
  native.init(made.sigstruct, made.image.encluSite)
  let heap = "memfd_secret"
  const changing = new Proxy({} as NativeEnclave, {
    get: (_, name) => {
      if (name === "memory") return { keys: "memfd_secret", heap }
      const value = Reflect.get(native, name, native)
      return typeof value === "function" ? value.bind(native) : value
    },
  })
  await using client = await EnclaveClient.start(changing, "software")
  assert.equal(client.identity.memory.heap, "memfd_secret")
  heap = "plain"
  assert.equal(client.identity.memory.heap, "plain")
  assert.equal({ ...client.identity }.memory.heap, "plain")
})

afterEach(() => fake.configure({}))

test("the driver's file and mappings of a dead enclave go as well", () => {
  // mov rbx, rcx; mov eax, EEXIT; mov edi, TRESOR_E_DEAD; jmp to the site.
  const native = startEnclave(
    { code: [0x48, 0x89, 0xcb, 0xb8, 4, 0, 0, 0, 0xbf, 11, 0, 0, 0, 0xe9, SITE - 18, 0, 0, 0] },
    { create: createFake },
  )
  assert.equal(fake.counters().open, 1)
  assert.equal(native.enter(callRequest({ leaf: 0 })), 11)
  assert.deepEqual([native.alive, fake.counters().open], [false, 0])
  assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
  assert.match(native.fault ?? "", /a self-test inside it failed/)
})

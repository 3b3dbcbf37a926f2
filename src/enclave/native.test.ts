/** The software backend while it runs: faults, signals, threads, where its memory is, and what an entry costs. */

import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { closeSync, openSync, readFileSync, readSync } from "node:fs"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { addressOf, type NativeEnclave } from "../native/addon.ts"
import { withCode, within, withinAsync } from "../testing/contract.ts"
import { getKey, KEY_AT, keyRequest } from "../testing/key-request.ts"
import {
  call,
  callRequest,
  DYNAMIC,
  HEAP,
  Leaf,
  LOST,
  openGate,
  SIZE,
  startEnclave,
  WINDOW,
} from "../testing/native.ts"

test("a fault inside is the end of the enclave and not of the process", async () => {
  const faults = {
    "#UD": [0x0f, 0x0b], // ud2
    "#DE": [0x31, 0xc9, 0xf7, 0xf1], // xor ecx, ecx; div ecx
    "#BP": [0xcc], // int3
    "#PF below": [0x31, 0xc0, 0x8b, 0x00], // xor eax, eax; mov eax, [rax]
    "#PF in a hole": [0x8b, 0x05, 0xfa, 0x6f, 0x00, 0x00], // mov eax, [rip + 0x6ffa]
    "#PF in code": [0x89, 0x05, 0x00, 0x00, 0x00, 0x00], // mov [rip], eax
    "#PF without a stack": [0x31, 0xe4, 0x50], // xor esp, esp; push rax
    "#GP": [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8b, 0x00], // a non-canonical address
    "a jump to nowhere": [0x31, 0xc0, 0xff, 0xe0], // xor eax, eax; jmp rax
  }
  for (const [name, code] of Object.entries(faults)) {
    await withinAsync(startEnclave({ code }), async (native) => {
      const lost = native.enterAsync(callRequest({ leaf: 0 }))
      assert.equal(await lost, LOST, name)
      assert.equal(native.alive, false, name)
      assert.equal(native.enter(callRequest({ leaf: 0 })), LOST, name)
    })
    within(startEnclave({ code }), (native) => assert.equal(native.enter(callRequest({ leaf: 0 })), LOST, name))
  }
})

test("a request that points nowhere faults inside and is caught", () => {
  within(startEnclave(), (native) => {
    // The window to hand back lies beyond ELRANGE.
    assert.equal(call(native, { leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, from: 0x4000_0000 }).status, LOST)
  })
})

test("who is inside when the enclave is lost is told so; its memory goes with the last one", async () => {
  const native = startEnclave()
  const waiting = callRequest({ leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest(), gate: false })
  const inside = native.enterAsync(waiting)
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(call(native, { leaf: 77 }).status, LOST)
  openGate(waiting)
  assert.equal(await inside, LOST)
  assert.equal(native.alive, false)
  native.trimHeap()
  native.destroy()
})

test("destroy with a thread inside lets it out first", async () => {
  const native = startEnclave()
  const waiting = callRequest({ leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest(), gate: false })
  const inside = native.enterAsync(waiting)
  await new Promise((resolve) => setTimeout(resolve, 20))
  native.destroy()
  assert.equal(native.alive, false)
  openGate(waiting)
  assert.equal(await inside, LOST)
})

test("a thread waits for a free TCS", async () => {
  await withinAsync(startEnclave(), async (native) => {
    const requests = Array.from({ length: 4 }, () =>
      callRequest({ leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest(), gate: false }),
    )
    const entries = requests.map((request) => native.enterAsync(request))
    let done = 0
    for (const entry of entries) void entry.then(() => done++)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const early = done
    for (const request of requests) openGate(request)
    assert.deepEqual(await Promise.all(entries), [0, 0, 0, 0])
    assert.equal(early, 0)
  })
})

interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: { f(at: number): number } }
  readonly RuntimeError: new () => Error
}

test("Node's own use of SIGSEGV survives", () => {
  within(startEnclave({ code: [0x0f, 0x0b] }), (native) => {
    assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
  })
  // (memory 1) (func (export "f") (param i32) (result i32) local.get 0, i32.load)
  const wasm = Buffer.from(
    "0061736d0100000001060160017f017f030201000503010001070501016600000a0901070020002802000b",
    "hex",
  )
  // Not among the types of a program without a DOM.
  const { Instance, Module, RuntimeError } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly
  const { f } = new Instance(new Module(wasm)).exports
  assert.equal(f(0), 0)
  assert.throws(() => f(0x7fff_0000), RuntimeError)
})

/** Runs a module's text in a process of its own. */
function spawn(script: string) {
  return spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    encoding: "utf8",
  })
}

test("a signal sent from outside keeps its effect", () => {
  const { signal } = spawn(`
    const { startEnclave } = await import("../testing/native.ts")
    startEnclave()
    process.kill(process.pid, "SIGSEGV")
    setTimeout(() => {}, 5000)`)
  assert.equal(signal, "SIGSEGV")
})

test("the enclave's data is where `memory` says, out of reach of /proc/self/mem when it is secret", () => {
  within(startEnclave(), (native) => {
    const { base } = call(native, { leaf: Leaf.egetkey, rbx: WINDOW, rcx: KEY_AT, data: keyRequest() })
    const fd = openSync("/proc/self/mem", "r")
    const readable = (offset: number) => {
      try {
        return readSync(fd, Buffer.alloc(16), 0, 16, Number(base) + offset) === 16
      } catch {
        return false
      }
    }
    const maps = readFileSync("/proc/self/maps", "latin1").split("\n")
    const mappedAt = (offset: number) =>
      maps.find((line) => {
        const [from, to] = line
          .split(" ")[0]!
          .split("-")
          .map((text) => Number.parseInt(text, 16))
        return from! <= Number(base) + offset && Number(base) + offset < to!
      })!
    try {
      assert.equal(base % BigInt(SIZE), 0n)
      assert.equal(readable(0), true, "code is public")
      assert.match(mappedAt(0), / r-xp /)
      for (const [offset, kind] of [
        [WINDOW, native.memory.keys],
        [0x2000, native.memory.keys],
        [0x3000, native.memory.keys],
        [HEAP, native.memory.heap],
        [DYNAMIC, native.memory.heap],
      ] as const) {
        assert.equal(readable(offset), kind !== "memfd_secret", `0x${offset.toString(16)} is ${kind}`)
        assert.match(mappedAt(offset), kind === "memfd_secret" ? / rw-s .*secretmem/ : / rw-p /)
      }
      assert.match(mappedAt(0x4000), / ---p /, "nobody touches a TCS")
      assert.match(mappedAt(0x7000), / ---p /, "a hole")
    } finally {
      closeSync(fd)
    }
  })
})

test("an entry costs the cycles asked for", () => {
  // A TSC runs at 1 to 6 GHz.
  const cycles = 60_000_000
  const time = (transitionCycles: number) =>
    within(startEnclave({}, { transitionCycles }), (native) => {
      const started = performance.now()
      getKey(native)
      return performance.now() - started
    })
  const [slow, fast] = [time(cycles), time(0)]
  assert.ok(slow >= cycles / 6e6 && fast < slow, `${slow} ms with, ${fast} ms without`)
})

test("a request that is no request is refused before it is entered with", () => {
  within(startEnclave(), (native) => {
    const request = callRequest({ leaf: 0 })
    const wrong = [
      new Uint8Array(15),
      new Uint8Array(request.buffer, 4, 1024),
      request.subarray(0, request.length - 8),
      new Uint16Array(request.buffer) as unknown as Uint8Array,
      undefined as unknown as Uint8Array,
    ]
    for (const bytes of wrong) {
      assert.throws(() => native.enter(bytes), withCode("ERR_INVALID_ARG_TYPE"))
      assert.throws(() => native.enterAsync(bytes), withCode("ERR_INVALID_ARG_TYPE"))
    }
    assert.throws(() => native.enter.call({} as NativeEnclave, request), withCode("ERR_INVALID_ARG_TYPE"))
    assert.equal(native.alive, true)
  })
})

test("addressOf is where a view begins", () => {
  const bytes = new Uint8Array(64)
  assert.equal(addressOf(bytes.subarray(24)) - addressOf(bytes), 24n)
})

/**
 * A program that looks into an enclave's memory after its end, and what the memory is made of. Prints
 * JSON. In a process of its own, because the limits it is started under decide the kind of memory.
 *
 *   remains END [FILES]   END: "destroyed", "faulted" or "dead"; FILES: none can be opened while the enclave is made
 *   downgrade WAY         WAY: "files": none can be opened at the first trim; "limit": nothing may be locked any more
 */
import { execFileSync } from "node:child_process"
import { closeSync, openSync, readFileSync, readSync } from "node:fs"
import { createEnclave, type NativeEnclave } from "../native/addon.ts"
import { fake } from "./fake-sgx.ts"
import { call, HEAP, Leaf, SITE, SIZE, startEnclave, testSigner, WINDOW } from "./native.ts"

const STACK = 0x2000
const MARK = Buffer.from("what was secret.")
const FAULT = 99

// Stores the complement of the host's 8 bytes in three pages; then exits with the status asked for, or faults.
// biome-ignore format: one instruction a line
const STORE = [
  [0x49, 0x89, 0xc9], // mov r9, rcx
  [0x4c, 0x8d, 0x1d, 0xf6, 0xff, 0xff, 0xff], // lea r11, [base]
  [0x48, 0x8b, 0x47, 0x40], // mov rax, [rdi + 64]
  [0x48, 0xf7, 0xd0], // not rax
  ...[WINDOW, STACK, HEAP].map((page) => [0x49, 0x89, 0x83, 0, page >> 8, 0, 0]), // mov [r11 + page], rax
  [0x4c, 0x89, 0x5f, 0x28], // mov [rdi + 40], r11
  [0x8b, 0x7f, 0x18], // mov edi, [rdi + 24]
  [0x83, 0xff, FAULT, 0x75, 0x02, 0x0f, 0x0b], // cmp edi, FAULT; jne over the ud2; ud2
  [0x4c, 0x89, 0xcb], // mov rbx, r9
  [0xb8, 4, 0, 0, 0], // mov eax, EEXIT
].flat()
const JUMP = [0xe9, SITE - STORE.length - 5, 0, 0, 0]

/** Runs with no file descriptor left. */
function withoutFiles<T>(work: () => T): T {
  const taken: number[] = []
  try {
    for (;;) taken.push(openSync("/dev/null", "r"))
  } catch {
    return work()
  } finally {
    taken.forEach(closeSync)
  }
}

const mapped = (from: bigint, to: bigint): string[] =>
  readFileSync("/proc/self/maps", "latin1")
    .split("\n")
    .filter((line) => {
      const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line)
      return range !== null && BigInt(`0x${range[1]}`) < to && BigInt(`0x${range[2]}`) > from
    })

function endIt(native: NativeEnclave, end: string): void {
  if (end === "destroyed") native.destroy()
  else call(native, { leaf: end === "dead" ? 11 : FAULT })
}

function remains(end: string, noFiles: boolean): object {
  const start = () => startEnclave({ code: [...STORE, ...JUMP] }, { create: createEnclave })
  // It comes from a file.
  testSigner()
  const native = noFiles ? withoutFiles(start) : start()
  const mark = MARK.subarray(0, 8)
  const { status, base } = call(native, { leaf: 0, data: mark.map((byte) => ~byte & 0xff) })
  const pages = [WINDOW, STACK, HEAP].map((page) => base + BigInt(page))
  const now = pages.map((page) => fake.hold(page))
  const after = pages.map((page) => fake.hold(page))
  const text = (fd: number) => {
    const bytes = Buffer.alloc(4096)
    return fd < 0 ? null : readSync(fd, bytes) === 4096 && bytes.subarray(0, 8).toString("latin1")
  }
  const before = now.map(text)
  const mappings = mapped(base - 4096n, base + BigInt(SIZE))
  const { memory } = native
  endIt(native, end)
  return {
    status,
    memory,
    before,
    after: after.map(text),
    alive: native.alive,
    fault: native.fault,
    mapped: mappings.length,
    // The same lines: other mappings may have come where there is room again.
    mappings: mapped(base - 4096n, base + BigInt(SIZE)).filter((line) => mappings.includes(line)),
  }
}

function downgradeByLimit(): object {
  const native = startEnclave()
  const before = native.memory
  execFileSync("prlimit", ["--pid", String(process.pid), "--memlock=0:0"])
  native.trimHeap()
  const after = native.memory
  // EREPORT into the heap: it is there.
  const { status } = call(native, { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW + 512, rdx: HEAP })
  native.destroy()
  return { before, after, status }
}

function downgradeByFiles(): object {
  const native = startEnclave()
  const before = native.memory
  withoutFiles(() => native.trimHeap())
  const weaker = native.memory
  native.trimHeap()
  const after = native.memory
  native.destroy()
  return { before, weaker, after }
}

const [what = "", how = "", files] = process.argv.slice(2)
const downgrade = () => (how === "limit" ? downgradeByLimit() : downgradeByFiles())
const result = what === "remains" ? remains(how, files !== undefined) : downgrade()
process.stdout.write(JSON.stringify(result))

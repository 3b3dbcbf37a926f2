/** Memory for disks: in huge pages where Linux has them, and not in cores. */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { test } from "node:test"
import { addressOf } from "./addon.ts"
import { diskMemory } from "./disk.ts"

const HUGE_PAGE = 2 ** 21
const HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage"

/** smaps's two letters of the mapping that begins there. */
function flagsAt(address: bigint): readonly string[] {
  const maps = readFileSync("/proc/self/smaps", "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const map = maps.find((text) => BigInt(`0x${/^[0-9a-f]+/.exec(text)?.[0] ?? 0}`) === address)
  return /^VmFlags: (.*)$/m
    .exec(map ?? "")![1]!
    .trim()
    .split(" ")
}

test("memory for a disk is zeros from a huge page on, asks for huge pages and is not in cores", () => {
  for (const size of [1, 4096, HUGE_PAGE, 3 * HUGE_PAGE + 5]) {
    const memory = new Uint8Array(diskMemory(size))
    assert.equal(memory.length, size)
    assert.ok(memory.every((byte) => byte === 0))
    memory.fill(1)
    const address = addressOf(memory)
    assert.equal(address % BigInt(HUGE_PAGE), 0n)
    const flags = flagsAt(address)
    assert.ok(flags.includes("dd"), `in cores: ${flags.join(" ")}`)
    assert.equal(flags.includes("hg"), existsSync(HUGE_PAGES), flags.join(" "))
  }
})

test("memory that cannot be is refused by the errno's name", () => {
  assert.throws(() => diskMemory(-1), { code: "EINVAL" })
})

test("memory that there is not is refused too", () => {
  // In a process of its own, whose address space ends a little behind what it has.
  const script = `
    import { execFileSync } from "node:child_process"
    import { readFileSync } from "node:fs"
    import { diskMemory } from ${JSON.stringify(new URL("disk.ts", import.meta.url).href)}
    const used = Number(/^VmSize:\\s+(\\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))[1]) * 1024
    execFileSync("prlimit", ["--pid", String(process.pid), "--as=" + (used + 2 ** 28)])
    try {
      diskMemory(2 ** 30)
    } catch (error) {
      process.stdout.write(error.code)
    }`
  assert.equal(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }), "ENOMEM")
})

import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { test } from "node:test"
import { fileURLToPath } from "node:url"

const bench = (...words: string[]) => {
  const main = fileURLToPath(new URL("main.ts", import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words], { encoding: "utf8" })
  return { status, stdout, stderr }
}

test("bench --help lists the tables and measures nothing", () => {
  const { status, stdout } = bench("--disk", "--help")
  assert.equal(status, 0)
  assert.match(stdout, /^Usage: npm run bench -- \[--disk \| --vhost\]/)
})

test("bench refuses words that it does not know, and what is no number of rounds", () => {
  assert.deepEqual(bench("--rounds", "0"), {
    status: 2,
    stdout: "",
    stderr: "bench: --rounds 0: not a number of rounds\n",
  })
  const { status, stderr } = bench("--disc")
  assert.equal(status, 2)
  assert.match(stderr, /^bench: Unknown option '--disc'/)
})

test("bench refuses two tables at once", () => {
  const { status, stderr } = bench("--disk", "--vhost")
  assert.equal(status, 2)
  assert.equal(stderr, "bench: --disk and --vhost are two tables: one at a time\n")
})

test("bench --disk refuses a folder in memory", () => {
  const { status, stderr } = bench("--disk", "--folder", "/dev/shm")
  assert.equal(status, 1)
  assert.match(stderr, /^bench: Cannot measure the disk in \/dev\/shm\/\S+: it is tmpfs/)
})

/**
 * What the threat model says of the software backend and root, shown: reading
 * tresord's memory gives no key, making tresord run a system call does. Were
 * the second to fail one day, the documents would claim too little. Needs root.
 */
import assert from "node:assert/strict"
import { readFileSync, rmSync } from "node:fs"
import { before, test } from "node:test"
import { fileURLToPath } from "node:url"
import { Place, run } from "../cli/harness.ts"
import { type Needle, roundKeys, scan, scanFile } from "./scanner.ts"

const place = new Place()
let path = ""
let keyFile = ""
let needles: Needle[] = []
const puppet = place.path("puppet")

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img", "correct horse", ["--portable"]))
  const out = place.path("volume.key")
  const args = ["luksDump", path, "-q", "--dump-volume-key", "--volume-key-file", out, "--key-file", keyFile]
  const dumped = await run("cryptsetup", args)
  assert.equal(dumped.code, 0, dumped.stderr)
  const key = readFileSync(out)
  const source = fileURLToPath(new URL("puppet.c", import.meta.url))
  const built = await run("gcc", ["-O1", "-Wall", "-Wextra", "-Werror", "-o", puppet, source])
  assert.equal(built.code, 0, built.stderr)
  needles = [key.subarray(0, 32), key.subarray(32)].flatMap((half, index) =>
    roundKeys(half).map((bytes, round) => ({ name: `half ${index}, round key ${round}`, bytes })),
  )
})

test("passive reads find no key; a debugger that makes tresord write() its own mapping finds all of them", async () => {
  const opened = await place.tresor(["open", path, "work", "--key-file", keyFile])
  assert.equal(opened.code, 0, opened.stderr)
  const { pid } = place.state("work")
  const secret = readFileSync(`/proc/${pid}/maps`, "utf8")
    .split("\n")
    .filter((line) => line.includes("secretmem"))
    .map((line) => line.split(" ")[0]!.split("-"))
    // Not the memory of a KDF: to write it out would be to make all of it.
    .filter(([from, to]) => Number(`0x${to}`) - Number(`0x${from}`) <= 64 << 20)
  assert.ok(secret.length > 0, "no memfd_secret mapping: on a kernel without it this test has nothing to show")
  assert.deepEqual(scan(pid, needles).found, [])

  const taken = place.path("taken")
  const debug = await run(puppet, [String(pid), taken, ...secret.flat()])
  try {
    const found = scanFile(taken, needles)
    assert.equal(new Set(found).size, needles.length, `${found.length} of ${needles.length}: ${debug.stderr}`)
  } finally {
    rmSync(taken, { force: true })
  }
  await place.tresor(["close", "work"])
})

/** A volume whose file or header is deleted or replaced while it is open: it works on, and status says so. */
import assert from "node:assert/strict"
import { copyFileSync, mkdirSync, renameSync, rmSync } from "node:fs"
import { test } from "node:test"
import { Place, run } from "./harness.ts"

const place = new Place()

/** Locks, opens again, writes and reads. */
async function works(keyFile: string): Promise<void> {
  const uri = `nbd+unix:///?socket=${place.runtime}/work/nbd.sock`
  const io = async (what: string) => {
    const { code, stdout } = await run("qemu-io", ["-f", "raw", uri, "-c", what])
    assert.equal(code, 0, stdout)
    assert.doesNotMatch(stdout, /failed/)
  }
  await io("write -P 0x5a 0 64k")
  assert.equal((await place.tresor(["lock", "work"])).code, 0)
  const { code, stderr } = await place.tresor(["setkey", "work", "--key-file", keyFile])
  assert.equal(code, 0, stderr)
  await io("read -P 0x5a 0 64k")
}

for (const detached of [false, true]) {
  test(`a ${detached ? "detached header and its data" : "file"}, deleted or replaced: lock, setkey and status`, async () => {
    const name = `lost-${detached}.img`
    const header = place.path(`${name}.header`)
    const { path, keyFile } = await place.volume(name, "correct horse", detached ? ["--header", header] : [])
    const paths = detached ? [path, header] : [path]
    const open = await place.tresor([
      "open",
      path,
      "work",
      "--key-file",
      keyFile,
      ...(detached ? ["--header", header] : []),
    ])
    assert.equal(open.code, 0, open.stderr)
    const said = async () => {
      const { stdout } = await place.tresor(["status", "work"])
      const { lostPaths } = JSON.parse((await place.tresor(["status", "work", "--json"])).stdout)
      lostPaths.sort((a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1))
      return { stdout, lostPaths }
    }
    assert.deepEqual((await said()).lostPaths, [])
    const kept = paths.map((each) => `${each}.kept`)
    const other = await place.volume(`other-${name}`)
    for (const [fate, change] of [
      ["deleted", (each: string, to: string) => renameSync(each, to)],
      ["replaced", (each: string) => copyFileSync(other.path, each)],
    ] as const) {
      for (const [n, each] of paths.entries()) change(each, kept[n]!)
      const { stdout, lostPaths } = await said()
      assert.deepEqual(
        lostPaths,
        paths.toSorted().map((each) => ({ path: each, fate })),
      )
      for (const each of paths)
        assert.ok(stdout.includes(`${each} is ${fate === "deleted" ? "deleted" : "another file"}`))
      await works(keyFile)
    }
    // Deleted for good: only tresord has it.
    for (const each of [...paths, ...kept]) rmSync(each)
    await works(keyFile)
    mkdirSync(path)
    assert.equal((await said()).lostPaths.find((each: { path: string }) => each.path === path)?.fate, "replaced")
    await works(keyFile)
    assert.equal((await place.tresor(["close", "work"])).code, 0)
  })
}

/** --all: every open volume of the user, each by itself. */
import assert from "node:assert/strict"
import { join } from "node:path"
import { test } from "node:test"
import { NbdClient } from "../../src/nbd/client.ts"
import { Place } from "./harness.ts"

const place = new Place()
const states = async () =>
  (JSON.parse((await place.tresor(["list", "--json"])).stdout) as { readonly name: string; readonly state: string }[])
    .map(({ name, state }) => `${name} ${state}`)
    .sort()

test("lock --all locks what is open, close --all closes it; one that is in use is named and keeps nobody else", async () => {
  for (const name of ["a", "b"]) {
    const { path, keyFile } = await place.volume(`${name}.img`)
    assert.equal((await place.tresor(["open", path, name, "--key-file", keyFile])).code, 0)
  }
  assert.deepEqual(await states(), ["a unlocked", "b unlocked"])
  assert.equal((await place.tresor(["lock", "--all"])).code, 0)
  assert.deepEqual(await states(), ["a locked", "b locked"])
  {
    await using _client = await NbdClient.connect(join(place.runtime, "a", "nbd.sock"))
    const refused = await place.tresor(["close", "--all"])
    assert.equal(refused.code, 5)
    assert.match(refused.stderr, /^tresor: error: Cannot close a: it is still in use[^\n]*\n$/)
    assert.deepEqual(await states(), ["a locked"])
  }
  assert.equal((await place.tresor(["close", "--all"])).code, 0)
  assert.deepEqual(await states(), [])
})

test("with nothing open --all succeeds; a name and --all, or neither, is refused with an example", async () => {
  for (const verb of ["lock", "close"]) {
    assert.deepEqual(await place.tresor([verb, "--all"]), { code: 0, stdout: "", stderr: "" })
    for (const words of [["x", "--all"], []]) {
      const { code, stderr } = await place.tresor([verb, ...words])
      assert.equal(code, 1)
      assert.match(stderr, new RegExp(`^tresor: error: Cannot ${verb}: .*; example: tresor ${verb} --all\n$`))
    }
  }
})

/** What doctor says where one thing of the machine is amiss: that, and the rest as it is. */
import assert from "node:assert/strict"
import { chmodSync, chownSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { Place, run, tresorPath } from "./harness.ts"

const place = new Place()
const enclaves = join(place.env["TRESOR_STATE_DIR"]!, "enclaves")

type Checks = ReadonlyMap<string, { readonly state: string; readonly found: string }>

async function doctor(): Promise<Checks> {
  const { code, stdout, stderr } = await place.tresor(["doctor", "--json"])
  assert.deepEqual([code, stderr], [0, ""])
  return new Map(JSON.parse(stdout).checks.map((check: { readonly id: string }) => [check.id, check]))
}

let sound: Checks

before(async () => {
  mkdirSync(place.runtime, { mode: 0o700 })
  sound = await doctor()
})

test("a sound place: the runtime directory, and the image that is kept by now", () => {
  assert.equal(sound.get("runtime-directory")!.found, place.runtime)
  assert.match(sound.get("kept-images")!.found, /this installation's/)
})

test("a runtime directory that others can write to is named, and hides nothing else", async () => {
  chmodSync(place.runtime, 0o777)
  const found = await doctor()
  chmodSync(place.runtime, 0o700)
  const { state, found: fault } = found.get("runtime-directory")!
  assert.equal(state, "no")
  assert.match(fault, /^Cannot use .* as runtime directory: .* TRESOR_RUNTIME_DIR$/)
  for (const id of sound.keys()) if (id !== "runtime-directory") assert.deepEqual(found.get(id), sound.get(id), id)
})

test("kept images that cannot be read are told as that", async () => {
  rmSync(enclaves, { recursive: true })
  writeFileSync(enclaves, "")
  const { state, found } = (await doctor()).get("kept-images")!
  rmSync(enclaves)
  assert.equal(state, "no")
  assert.match(found, /ENOTDIR/)
})

test("an ordinary user, who may not read the program, gets every check too", {
  skip: process.getuid!() !== 0 && "root alone becomes an ordinary user",
}, async () => {
  const [state, runtime] = [place.path("theirs"), place.path("their-run")]
  chmodSync(place.folder, 0o711)
  for (const directory of [state, runtime]) {
    mkdirSync(directory, { mode: 0o700 })
    chownSync(directory, 65534, 65534)
  }
  const env = { ...place.env, TRESOR_STATE_DIR: state, TRESOR_RUNTIME_DIR: runtime, XDG_CONFIG_HOME: state }
  const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
  const { code, stdout, stderr } = await run("setpriv", [...nobody, tresorPath, "doctor", "--json"], { env })
  assert.deepEqual([code, stderr], [0, ""])
  const theirs = JSON.parse(stdout).checks as readonly { readonly id: string; readonly found: string }[]
  assert.deepEqual(
    theirs.map(({ id }) => id),
    [...sound.keys()],
  )
  assert.match(theirs.find(({ id }) => id === "io_uring")!.found, /available|refused/)
  assert.match(theirs.find(({ id }) => id === "kept-images")!.found, /this installation's/)
})

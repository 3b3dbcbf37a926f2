/** Whose machine secret root uses under sudo. As root. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { adoptCaller, sudoCaller } from "./sudo-caller.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-sudo-"))
const before = { ...process.env }
after(() => {
  rmSync(folder, { recursive: true })
  process.env = before
})
const UID = 4242

test("a file of the caller's has the caller's secret; block devices and all else have root's", () => {
  // Nobody else can be under sudo.
  if (process.getuid!() !== 0) return
  const home = join(folder, "home")
  const state = join(home, ".local/state/tresor")
  mkdirSync(state, { recursive: true })
  const bin = join(folder, "bin")
  mkdirSync(bin)
  writeFileSync(join(bin, "getent"), `#!/bin/sh\n[ "$2" = ${UID} ] && echo "u:x:${UID}:${UID}::${home}:/bin/sh"\n`)
  chmodSync(join(bin, "getent"), 0o755)
  Object.assign(process.env, { SUDO_UID: String(UID), TRESOR_STATE_DIR: "", PATH: `${bin}:${process.env["PATH"]}` })
  const [file, roots, link, device] = ["file", "roots", "link", "device"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ]
  for (const each of [file, roots]) writeFileSync(each, "")
  symlinkSync(file, link)
  chownSync(file, UID, UID)
  assert.equal(adoptCaller(file), null, "the caller has no secret yet")
  writeFileSync(join(state, "machine-secret"), "")

  // tresor@.service opens a disk at boot, when nobody has called sudo: by the secret that `sudo tresor create` used.
  assert.equal(spawnSync("mknod", [device, "b", "7", "0"]).status, 0)
  chownSync(device, UID, UID)
  for (const each of [device, roots, join(folder, "missing"), folder]) assert.equal(adoptCaller(each), null, each)
  process.env["TRESOR_STATE_DIR"] = folder
  assert.equal(adoptCaller(file), null, "a directory was chosen")
  process.env["TRESOR_STATE_DIR"] = ""
  for (const uid of ["0", "", "x", "4243"]) {
    process.env["SUDO_UID"] = uid
    assert.equal(adoptCaller(file), null, `SUDO_UID=${uid}`)
  }
  assert.equal(sudoCaller(), null)
  process.env["SUDO_UID"] = String(UID)
  for (const each of [file, link]) assert.deepEqual(adoptCaller(each), { uid: UID, name: "u", state }, each)
  assert.equal(sudoCaller()?.uid, UID)
})

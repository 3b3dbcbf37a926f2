/** Whose machine secret root uses, and what is told of it. As root. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { keptByOwner, keptPlaces } from "./kept-images.ts"
import { otherSecret, readMachineSecret, secretName } from "./machine-secret.ts"
import { adoptOwner, secretOwner } from "./secret-owner.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-sudo-"))
const before = { ...process.env }
after(() => {
  rmSync(folder, { recursive: true })
  process.env = before
})
const UID = 4242

test("a file of a user's has that user's secret for root too; block devices and all else have root's", () => {
  // Nobody else has a choice.
  if (process.getuid!() !== 0) return
  const home = join(folder, "home")
  const state = join(home, ".local/state/tresor")
  mkdirSync(state, { recursive: true })
  const bin = join(folder, "bin")
  mkdirSync(bin)
  writeFileSync(join(bin, "getent"), `#!/bin/sh\n[ "$2" = ${UID} ] && echo "u:x:${UID}:${UID}::${home}:/bin/sh"\n`)
  chmodSync(join(bin, "getent"), 0o755)
  Object.assign(process.env, { TRESOR_STATE_DIR: "", PATH: `${bin}:${process.env["PATH"]}` })
  const [file, roots, link, device, stranger] = ["file", "roots", "link", "device", "stranger"].map((name) =>
    join(folder, name),
  ) as [string, string, string, string, string]
  for (const each of [file, roots, stranger]) writeFileSync(each, "")
  symlinkSync(file, link)
  chownSync(file, UID, UID)
  chownSync(stranger, UID + 1, UID)
  assert.equal(adoptOwner(file), null, "the owner has no secret yet")
  writeFileSync(join(state, "machine-secret"), randomBytes(32), { mode: 0o600 })
  chownSync(join(state, "machine-secret"), UID, UID)

  // tresor@.service opens a disk at boot: by the secret that `sudo tresor create` used.
  assert.equal(spawnSync("mknod", [device, "b", "7", "0"]).status, 0)
  chownSync(device, UID, UID)
  for (const each of [device, roots, stranger, join(folder, "missing"), folder]) {
    assert.equal(adoptOwner(each), null, each)
  }
  process.env["TRESOR_STATE_DIR"] = folder
  assert.equal(adoptOwner(file), null, "a directory was chosen")
  const roots_ = secretName()
  assert.deepEqual([roots_.uid, otherSecret(roots_)], [0, null])
  process.env["TRESOR_STATE_DIR"] = ""
  assert.equal(secretOwner(), null)
  assert.equal(keptByOwner(), null)
  for (const each of [file, link]) assert.deepEqual(adoptOwner(each), { uid: UID, name: "u", state }, each)
  assert.equal(secretOwner()?.uid, UID)
  assert.ok(!keptPlaces().includes(state), "an image of the user's would run with root's rights")
  assert.match(keptByOwner() ?? "", /^open it once as u, /)
  const theirs = secretName()
  assert.equal(theirs.uid, UID)
  assert.notEqual(theirs.id, roots_.id)
  assert.match(theirs.id, /^[0-9a-f]{16}$/)
  assert.deepEqual(secretName(), theirs)

  // What was sealed with another: where it should be it is, or is not, or nobody knows the user.
  const inUse = `, and the one in use is ${theirs.id} in ${join(state, "machine-secret")}`
  const sealed = (uid: number) =>
    `it was sealed with the machine secret ${roots_.id} of ${uid === UID ? "u" : `uid ${uid}`}`
  assert.deepEqual(otherSecret({ ...roots_, uid: UID + 1 }), { fact: sealed(UID + 1) + inUse, way: null })
  const lost = { fact: `${sealed(UID)}, which is not in ${state}${inUse}`, way: null }
  assert.deepEqual(otherSecret({ ...roots_, uid: UID }), lost)
  rmSync(join(state, "machine-secret"))
  assert.throws(() => readMachineSecret(state), { code: "MACHINE_SECRET_REFUSED", message: /it is gone/ })
  assert.ok(!existsSync(join(state, "machine-secret")), "root makes none for others")
})

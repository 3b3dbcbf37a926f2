import assert from "node:assert/strict"
import { test } from "node:test"
import { callerOf, FILESYSTEMS, mountOptions, splitOptions } from "./filesystem.ts"

const user = { uid: 1000, gid: 100 }
const root = { uid: 0, gid: 0 }
const plain = { type: "ext4", asked: "", readonly: false, owner: user, helper: false }

test("the caller is sudo's user when root runs, and this process's otherwise", () => {
  const sudo = { SUDO_UID: "1000", SUDO_GID: "100" }
  assert.deepEqual(callerOf(sudo, root), user)
  assert.deepEqual(callerOf({}, root), root)
  assert.deepEqual(callerOf({ SUDO_UID: "1000" }, root), root)
  for (const id of ["-1", "x", "", "4294967295", "99999999999"]) {
    assert.deepEqual(callerOf({ SUDO_UID: id, SUDO_GID: "5" }, root), root)
  }
  assert.deepEqual(callerOf({ SUDO_UID: "5", SUDO_GID: "5" }, user), user, "a user cannot say whose it is")
})

test("options are separated by commas that are not within quotes", () => {
  assert.deepEqual(splitOptions("noatime,,subvol=a"), ["noatime", "subvol=a"])
  assert.deepEqual(splitOptions('context="a:b,c",ro'), ['context="a:b,c"', "ro"])
  assert.deepEqual(splitOptions(""), [])
  assert.deepEqual(splitOptions('open="x,y'), ['open="x,y'])
})

test("files of a filesystem without owners belong to the caller, unless the options say otherwise", () => {
  assert.equal(mountOptions(plain), "")
  for (const type of ["vfat", "exfat"]) {
    assert.equal(mountOptions({ ...plain, type }), "uid=1000,gid=100")
    assert.equal(mountOptions({ ...plain, type, asked: "uid=5,umask=077" }), "gid=100,uid=5,umask=077")
    assert.equal(mountOptions({ ...plain, type, owner: root }), "")
  }
  assert.equal(mountOptions({ ...plain, type: null }), "")
})

test("what was asked for comes last", () => {
  const options = mountOptions({ ...plain, readonly: true, helper: true, asked: "noatime,rw" })
  assert.equal(options, "ro,helper=tresor,noatime,rw")
})

test("--mkfs offers what filesystem.ts can make", () => {
  assert.deepEqual(FILESYSTEMS, ["ext4", "xfs", "btrfs", "vfat", "exfat"])
})

import assert from "node:assert/strict"
import { test } from "node:test"
import { helperStatus, helperWords } from "./mount-helper.ts"
import { buildProgram } from "./program.ts"
import { flagsOf } from "./tresor-command.ts"

const flags = flagsOf(await buildProgram("", []), "mount")!
const world = { flags, terminal: true, root: true }
const words = (line: string, more: Partial<typeof world> = {}) => helperWords(line.split(" "), { ...world, ...more })

test("options of tresor mount are ours, the others the filesystem's", () => {
  assert.deepEqual(words("mount.tresor /srv/disk.img /mnt -o rw,noatime,key-file=/etc/key,direct,name=work"), [
    ...["mount", "-o", "rw,noatime", "--key-file", "/etc/key", "--direct", "--name", "work"],
    ...["--", "/srv/disk.img", "/mnt"],
  ])
  assert.deepEqual(words("mount.tresor work /mnt"), ["mount", "--", "work", "/mnt"])
  assert.deepEqual(words("mount.tresor a /b -n -o ro -sv -t tresor.xfs"), [
    ...["mount", "-o", "ro", "--fstype", "xfs", "--", "a", "/b"],
  ])
})

test("a quoted value may have commas", () => {
  const found = helperWords(["mount.tresor", "a", "/b", "-o", 'key-file="/k,1",context="x,y"'], world)
  assert.deepEqual(found, ["mount", "-o", 'context="x,y"', "--key-file", "/k,1", "--", "a", "/b"])
})

test("no option of fstab makes a filesystem", () => {
  assert.deepEqual(words("mount.tresor a /b -o mkfs=ext4,force"), [
    ...["mount", "-o", "mkfs=ext4,force", "--", "a", "/b"],
  ])
})

test("without a terminal the password agents ask, unless there is a key file", () => {
  assert.ok(words("mount.tresor a /b", { terminal: false })!.includes("--password-agent"))
  assert.ok(!words("mount.tresor a /b -o key-file=/k", { terminal: false })!.includes("--password-agent"))
  const asked = words("mount.tresor a /b -o password-agent", { terminal: false })!
  assert.equal(asked.filter((word) => word === "--password-agent").length, 1)
})

test("a dry run does nothing", () => {
  assert.equal(words("mount.tresor a /b -f"), null)
})

test("an ordinary user is told that mount(8) gives up its rights for helpers", () => {
  assert.throws(() => words("mount.tresor a /b -o user", { root: false }), {
    code: "MOUNT_NEEDS_ROOT",
    message: /sudo mount \/b/,
  })
})

test("an ordinary user is told that root alone unmounts", () => {
  assert.throws(() => words("umount.tresor /b", { root: false }), {
    code: "MOUNT_NEEDS_ROOT",
    message: /sudo umount \/b/,
  })
})

test("what mount(8) does not say to helpers is refused", () => {
  for (const line of [
    "mount.tresor a",
    "mount.tresor a b c",
    "mount.tresor a /b -x",
    "mount.tresor a /b -o",
    "mount.tresor a /b -N /proc/1/ns/mnt",
    "mount.tresor a /b -o key-file",
    "mount.tresor a /b -o direct=1",
    "umount.tresor",
    "umount.tresor /a /b",
    "umount.tresor /a -l",
    "umount.tresor /a -f",
  ]) {
    assert.throws(() => words(line), { code: "USAGE", exitCode: 1 }, line)
  }
})

test("umount.tresor unmounts", () => {
  assert.deepEqual(words("umount.tresor /mnt -n -v"), ["umount", "--", "/mnt"])
})

test("the exit status is mount(8)'s", () => {
  assert.deepEqual([0, 1, 2, 4, 5].map(helperStatus), [0, 1, 32, 32, 32])
})

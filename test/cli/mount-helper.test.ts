/** mount(8) and umount(8) with our helpers, in a mount namespace where they are installed; as root. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { Place, type Result, root, run, tresorPath, until } from "./harness.ts"

const place = new Place()
const directory = place.path("mnt")
const helpers = place.path("sbin")
const fstab = place.path("fstab")
let path = ""
let keyFile = ""

before(async () => {
  // Ordinary users find the mount point.
  chmodSync(place.folder, 0o755)
  mkdirSync(directory)
  mkdirSync(helpers)
  for (const name of ["mount.tresor", "umount.tresor"]) {
    const text = readFileSync(join(root, "units", name), "utf8")
    writeFileSync(join(helpers, name), text.replace("/usr/bin/tresor", tresorPath))
    chmodSync(join(helpers, name), 0o755)
  }
  ;({ path, keyFile } = await place.volume("disk.img"))
  const made = await place.tresor(["mount", path, directory, "--mkfs", "ext4", "--key-file", keyFile], {
    env: { SUDO_UID: "1234", SUDO_GID: "4321" },
  })
  assert.equal(made.code, 0, made.stderr)
  assert.equal((await run("stat", ["-c", "%u %g", directory])).stdout, "1234 4321\n")
  assert.equal((await place.tresor(["umount", directory])).code, 0)
})

/** A script in a namespace of its own, where /usr/sbin has the helpers too. mount(8) reads this fstab. */
function shell(script: string, line: string): Promise<Result> {
  writeFileSync(fstab, `${line}\n`)
  const inside = `mount -t overlay -o lowerdir=${helpers}:/usr/sbin overlay /usr/sbin && mount --bind ${fstab} /etc/fstab && cd ${place.folder} && ${script}`
  return run("unshare", ["--mount", "sh", "-ec", inside], { env: place.env })
}

test("a line of fstab with a file: mount opens and mounts, umount unmounts and closes", async () => {
  const { code, stdout, stderr } = await shell(
    `mount ${directory}; grep ' ${directory} ' /proc/mounts; ls run; umount ${directory}; echo after; grep ' ${directory} ' /proc/mounts || ls run`,
    `${path} ${directory} tresor noauto,user,noatime,name=work,key-file=${keyFile} 0 0`,
  )
  assert.equal(code, 0, stderr)
  const [, mounted = "", open, after, closed] = stdout.split("\n")
  assert.match(mounted, / ext4 rw,nosuid,nodev,noexec,noatime/)
  assert.equal(open, "work")
  assert.equal(after, "after")
  assert.equal(closed, "", "umount(8) closed the volume")
})

test("a volume that is open is mounted by its name or its path, and stays open after umount", async () => {
  assert.equal((await place.tresor(["open", path, "data", "--key-file", keyFile])).code, 0)
  for (const source of ["data", path]) {
    const { code, stdout, stderr } = await shell(
      `mount ${directory}; grep ' ${directory} ' /proc/mounts; readlink /dev/tresor/data; tresor=${tresorPath}; $tresor close data && exit 9; umount ${directory}; ls run; ls -A /dev/tresor`,
      `${source} ${directory} tresor noauto,ro 0 0`,
    )
    assert.equal(code, 0, stderr)
    assert.match(stderr, /Cannot close data: it is still in use, mounted on/)
    assert.match(stdout, / ext4 ro,/)
    assert.match(stdout, /\n\/dev\/(loop|nbd)\d+\ndata\n$/, "linked while mounted, then open without a link")
  }
  assert.equal((await place.tresor(["close", "data"])).code, 0)
})

test("a locked volume is unlocked by the mount", async () => {
  assert.equal((await place.tresor(["open", path, "data", "--locked"])).code, 0)
  const mounted = await place.tresor(["mount", "data", directory, "--key-file", keyFile])
  assert.equal(mounted.code, 0, mounted.stderr)
  const twice = await place.tresor(["mount", "data", place.folder, "--key-file", keyFile])
  assert.equal(twice.code, 5)
  assert.match(twice.stderr, /Cannot mount data: it is mounted on [^\n]+; run `tresor umount/)
  assert.equal((await place.tresor(["umount", directory])).code, 0)
  assert.match((await place.tresor(["status", "data"])).stdout, /unlocked/)
  assert.equal((await place.tresor(["close", "data"])).code, 0)
})

test("a volume that an NBD client uses is not mounted", async () => {
  assert.equal((await place.tresor(["open", path, "data", "--key-file", keyFile])).code, 0)
  const socket = join(place.runtime, "data", "nbd.sock")
  mkdirSync(place.path("client"))
  const client = spawn("nbdfuse", [place.path("client"), `nbd+unix:///?socket=${socket}`], { stdio: "ignore" })
  const left = once(client, "exit")
  try {
    await until("nbdfuse is connected", () => existsSync(join(place.path("client"), "nbd")), 100_000)
    const refused = await place.tresor(["mount", "data", directory])
    assert.equal(refused.code, 5)
    assert.match(
      refused.stderr,
      /Cannot mount data: an NBD client is connected to it \(\d connections\); end it first\n/,
    )
  } finally {
    await run("fusermount3", ["-u", place.path("client")])
    client.kill()
    await left
  }
  assert.equal((await place.tresor(["close", "data"])).code, 0)
})

test("a mount that fails says why, with mount(8)'s exit status, and leaves nothing", async () => {
  const wrong = place.file("wrong", "something else")
  const failed = await shell(`mount ${directory}`, `${path} ${directory} tresor key-file=${wrong} 0 0`)
  assert.equal(failed.code, 32)
  assert.match(failed.stderr, /No key available with this passphrase/)
  const option = await shell(`mount ${directory}`, `${path} ${directory} tresor key-file=${keyFile},nonsense=1 0 0`)
  assert.equal(option.code, 32)
  assert.match(option.stderr, /Cannot mount [^\n]+ on [^\n]+: mount exited with 32/)
  assert.deepEqual(place.names(), [])
  assert.equal((await shell(`mount --fake ${directory}`, `${path} ${directory} tresor defaults 0 0`)).code, 0)
  assert.deepEqual(place.names(), [])
})

test("mount(8) run by an ordinary user says that only root can mount, also with option user or users", async () => {
  chownSync(directory, 65534, 65534)
  for (const option of ["defaults", "user", "users"]) {
    const { code, stderr } = await shell(
      `setpriv --reuid=65534 --regid=65534 --clear-groups mount ${directory}`,
      `${path} ${directory} tresor ${option},noauto 0 0`,
    )
    assert.equal(code, 32, stderr)
    assert.match(stderr, /mounting a filesystem needs root[^\n]+use sudo mount/)
    assert.deepEqual(place.names(), [])
  }
})

test("an ordinary user cannot unmount what root mounted with option users", async () => {
  const { code, stdout, stderr } = await shell(
    `mount ${directory}; setpriv --reuid=65534 --regid=65534 --clear-groups env -u TRESOR_RUNTIME_DIR umount ${directory} || echo refused; grep -c ' ${directory} ' /proc/mounts; umount ${directory}; ls run`,
    `${path} ${directory} tresor noauto,users,name=work,key-file=${keyFile} 0 0`,
  )
  assert.equal(code, 0, stderr)
  assert.match(stdout, /\nrefused\n1\n$/)
  assert.match(
    stderr,
    /Cannot unmount [^\n]+: root mounted it, also with option users of fstab\(5\)[^\n]+use sudo umount/,
  )
})

test("--mkfs of a read-only mount is refused; one whose root directory cannot be given away is undone", async () => {
  const blank = await place.volume("blank.img")
  const args = ["mount", blank.path, directory, "--mkfs", "ext4", "--key-file", blank.keyFile]
  const refused = await place.tresor([...args, "-o", "noatime,ro"])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /--mkfs writes, and it is to be mounted read-only/)
  const env = { ...place.env, SUDO_UID: "1234", SUDO_GID: "4321" }
  const undone = await run("setpriv", ["--bounding-set=-chown", "--inh-caps=-chown", tresorPath, ...args], { env })
  assert.equal(undone.code, 2, undone.stderr)
  assert.match(undone.stderr, /Cannot give the new filesystem on [^\n]+ to user 1234: EPERM; mount it without --mkfs/)
  assert.deepEqual(place.names(), [])
})

test("vfat and exfat are made; what they are is what blkid and fsck say", async () => {
  const blank = await place.volume("fat.img", "correct horse", ["--size", "64M"])
  for (const type of ["vfat", "exfat"]) {
    const args = ["mount", blank.path, directory, "--mkfs", type, "--force", "--key-file", blank.keyFile]
    const mounted = await place.tresor(args, { env: { SUDO_UID: "1234", SUDO_GID: "4321" } })
    if (mounted.code === 0) {
      assert.equal((await run("stat", ["-c", "%u %g", directory])).stdout, "1234 4321\n")
      assert.equal((await place.tresor(["umount", directory])).code, 0)
    } else assert.match(mounted.stderr, new RegExp(`unknown filesystem type '${type}'`), "a kernel without it")
    assert.equal((await place.tresor(["open", blank.path, "fat", "--key-file", blank.keyFile])).code, 0)
    const image = place.path(`${type}.img`)
    const socket = join(place.runtime, "fat", "nbd.sock")
    assert.equal((await run("nbdcopy", [`nbd+unix:///?socket=${socket}`, image])).code, 0)
    assert.equal((await place.tresor(["close", "fat"])).code, 0)
    assert.equal((await run("blkid", ["-p", "-o", "value", "-s", "TYPE", image])).stdout, `${type}\n`)
    const checked = await run(`fsck.${type}`, ["-n", image])
    assert.equal(checked.code, 0, checked.stdout + checked.stderr)
  }
})

/** As root: FUSE and a loop device, or the kernel's nbd driver where there is one. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { alive, Place, run, tresorPath, until } from "./harness.ts"
import { copyInstallation } from "./installation.ts"

const place = new Place()
const directory = place.path("mnt point")
let path = ""
let keyFile = ""

before(async () => {
  mkdirSync(directory)
  ;({ path, keyFile } = await place.volume("disk.img", "correct horse", []))
})

const mounts = () =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(place.folder))
const loops = async () =>
  (await run("losetup", ["--list", "--noheadings"])).stdout.split("\n").filter((line) => line.includes(place.folder))

async function nothingLeft(): Promise<void> {
  assert.deepEqual(mounts(), [])
  assert.deepEqual(await loops(), [])
  assert.deepEqual(place.names(), [])
  assert.deepEqual(
    readdirSync(join(place.runtime, ".mounts")).filter((name) => !name.startsWith(".")),
    [],
  )
}

test("a volume without a filesystem is refused without --mkfs, and nothing is left", async () => {
  const result = await place.tresor(["mount", path, directory, "--key-file", keyFile])
  assert.equal(result.code, 4, result.stderr)
  assert.match(result.stderr, /^tresor: error: [^\n]*--mkfs[^\n]*\n$/)
  await nothingLeft()
})

test("mount --mkfs, write, umount, mount: the file is there; umount leaves nothing", async () => {
  const first = await place.tresor(["mount", path, directory, "--mkfs", "ext4", "--key-file", keyFile])
  assert.equal(first.code, 0, first.stderr)
  writeFileSync(join(directory, "note"), "kept")
  const undone = await place.tresor(["umount", directory])
  assert.equal(undone.code, 0, undone.stderr)
  await nothingLeft()
  assert.deepEqual(readdirSync(directory), [])

  const second = await place.tresor(["mount", path, directory, "--key-file", keyFile])
  assert.equal(second.code, 0, second.stderr)
  assert.equal(readFileSync(join(directory, "note"), "utf8"), "kept")
  assert.equal((await place.tresor(["umount", directory])).code, 0)
  await nothingLeft()
})

test("--mkfs over a filesystem is refused without --force: exit 5", async () => {
  const result = await place.tresor(["mount", path, directory, "--mkfs", "xfs", "--key-file", keyFile])
  assert.equal(result.code, 5)
  assert.match(result.stderr, /holds ext4 already/)
  await nothingLeft()
})

for (const block of ["1024", "512"])
  test(`a filesystem with blocks of ${block}, copied into a volume with sectors of 4096, is mounted`, async () => {
    const image = place.path(`small-${block}.img`)
    const made =
      block === "512"
        ? await run("mkfs.xfs", ["-q", "-s", "size=512", "-d", `file,name=${image},size=320m`])
        : await run("mkfs.ext4", ["-q", "-F", "-b", block, image, "12m"])
    assert.equal(made.code, 0, made.stderr)
    const sectors = ["--sector-size", "4096", ...(block === "512" ? ["--size", "352M"] : [])]
    const volume = await place.volume(`small-${block}`, "correct horse", sectors)
    const key = ["--key-file", volume.keyFile]
    assert.equal((await place.tresor(["open", volume.path, "copy", ...key])).code, 0)
    const socket = join(place.runtime, "copy", "nbd.sock")
    const copied = await run("nbdcopy", [image, `nbd+unix:///?socket=${socket}`])
    assert.equal(copied.code, 0, copied.stderr)
    assert.equal((await place.tresor(["close", "copy"])).code, 0)
    const mounted = await place.tresor(["mount", volume.path, directory, ...key])
    assert.equal(mounted.code, 0, mounted.stderr)
    writeFileSync(join(directory, "note"), "kept")
    assert.equal((await place.tresor(["umount", directory])).code, 0)
    await nothingLeft()
  })

test("umount of a busy filesystem says so, loses nothing, and works when it is free", async () => {
  assert.equal((await place.tresor(["mount", path, directory, "--key-file", keyFile])).code, 0)
  const user = spawn("sleep", ["60"], { cwd: directory })
  const busy = await place.tresor(["umount", directory])
  assert.equal(busy.code, 5)
  assert.match(
    busy.stderr,
    /^tresor: error: Cannot unmount [^\n]+: in use by [^\n]+ \(\d+, (an open file|its working directory)\); end it and run the command again\n$/,
  )
  assert.equal(readFileSync(join(directory, "note"), "utf8"), "kept")
  user.kill("SIGKILL")
  await new Promise((resolve) => user.once("close", resolve))
  assert.equal((await place.tresor(["umount", directory])).code, 0)
  await nothingLeft()
})

test("umount of a locked volume says so at once, and works when it is unlocked", async () => {
  assert.equal((await place.tresor(["mount", path, directory, "--name", "held", "--key-file", keyFile])).code, 0)
  assert.equal((await place.tresor(["lock", "held"])).code, 0)
  const locked = await place.tresor(["umount", directory])
  assert.equal(locked.code, 5)
  assert.match(locked.stderr, /held is locked[^\n]*tresor setkey held/)
  const unlocked = await place.tresor(["setkey", "held", "--key-file", keyFile])
  assert.equal(unlocked.code, 0, unlocked.stderr)
  assert.equal((await place.tresor(["umount", directory])).code, 0)
  await nothingLeft()
})

test("layers that somebody else undid are no obstacle", async () => {
  assert.equal((await place.tresor(["mount", path, directory, "--key-file", keyFile])).code, 0)
  assert.equal((await run("umount", [directory])).code, 0)
  const undone = await place.tresor(["umount", directory])
  assert.equal(undone.code, 0, undone.stderr)
  await nothingLeft()
})

test("umount of what is not mounted, mount on what is no directory", async () => {
  const not = await place.tresor(["umount", directory])
  assert.equal(not.code, 4)
  assert.match(not.stderr, /no Tresor volume is mounted there/)
  const file = await place.tresor(["mount", path, keyFile, "--key-file", keyFile])
  assert.equal(file.code, 1)
  assert.match(file.stderr, /not a directory/)
})

test("an ordinary user is told of a mount point of somebody else's, before anything is opened", async () => {
  const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
  const refused = await run("setpriv", [...nobody, tresorPath, "mount", path, "/mnt"], { env: place.env })
  assert.equal(refused.code, 2, refused.stderr)
  assert.match(
    refused.stderr,
    /Cannot mount on \/mnt: you cannot write to it; choose a directory of your own, [^\n]+ sudo\n$/,
  )
})

for (const [filesystem, size] of [
  ["xfs", "400M"],
  ["btrfs", "200M"],
] as const) {
  test(`--mkfs ${filesystem}`, async () => {
    const big = await place.volume(`${filesystem}.img`, "correct horse", ["--size", size])
    const args = ["mount", big.path, directory, "--mkfs", filesystem, "--key-file", big.keyFile]
    const { code, stderr } = await place.tresor(args)
    assert.equal(code, 0, stderr)
    assert.match(readFileSync("/proc/self/mountinfo", "utf8"), new RegExp(`mnt\\\\040point .* - ${filesystem} `))
    assert.equal((await place.tresor(["umount", directory])).code, 0)
    await nothingLeft()
  })
}

test("a tresord that is killed under a mount: umount undoes the rest", async () => {
  assert.equal((await place.tresor(["mount", path, directory, "--key-file", keyFile])).code, 0)
  const [name = ""] = place.names()
  process.kill(place.state(name).pid, "SIGKILL")
  await until("it is gone", () => !alive(place.state(name).pid))
  const { code, stderr } = await place.tresor(["umount", directory])
  assert.ok(code === 0 || /^tresor: error: [^\n]+\n$/.test(stderr), stderr)
  assert.deepEqual(mounts(), [])
  assert.deepEqual(await loops(), [])
  assert.equal((await place.tresor(["mount", path, directory, "--key-file", keyFile])).code, 0, "and it mounts again")
  assert.equal((await place.tresor(["umount", directory])).code, 0)
  await nothingLeft()
})

test("an ordinary user gets the device as a file, and is told what needs root", async () => {
  const nobody = 65534
  // A copy as it would be installed: the repository may lie where this user cannot go.
  const installed = place.path("installed")
  copyInstallation(installed)
  const own = place.path("nobody")
  mkdirSync(join(own, "mnt"), { recursive: true })
  chmodSync(place.folder, 0o711)
  writeFileSync(join(own, "key"), "correct horse")
  for (const each of ["", "mnt", "key"]) chownSync(join(own, each), nobody, nobody)
  const env = {
    TRESOR_RUNTIME_DIR: join(own, "run"),
    TRESOR_STATE_DIR: join(own, "state"),
    XDG_CONFIG_HOME: join(own, "config"),
    HOME: own,
  }
  const as = (...args: string[]) =>
    run("setpriv", [`--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups", join(installed, "tresor"), ...args], {
      env,
      cwd: own,
    })
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const made = await as("create", "disk.img", "--size", "32M", "--key-file", "key", "--no-recovery", ...kdf)
  assert.equal(made.code, 0, made.stderr)
  const mounted = await as("mount", "disk.img", "mnt", "--key-file", "key")
  assert.equal(mounted.code, 0, mounted.stderr)
  assert.match(
    mounted.stdout + mounted.stderr,
    /is the decrypted device, as a file; mounting its filesystem needs root/,
  )
  const seen = await run("setpriv", [
    `--reuid=${nobody}`,
    `--regid=${nobody}`,
    "--clear-groups",
    "ls",
    join(own, "mnt"),
  ])
  assert.equal(seen.stdout, "disk.img\n")
  assert.equal((await as("umount", "mnt")).code, 0)
  assert.deepEqual(readdirSync(join(own, "mnt")), [])
})

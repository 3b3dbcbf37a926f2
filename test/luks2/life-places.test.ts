/** The same life elsewhere: block devices, NBD exports, volumes that systemd-cryptenroll prepared. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { readFileSync, truncateSync } from "node:fs"
import { after, test } from "node:test"
import { Place, type Result, run, until } from "../cli/harness.ts"

const place = new Place()
const FAST = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]

async function succeeds(promise: Promise<Result>): Promise<Result> {
  const result = await promise
  assert.equal(result.code, 0, result.stderr + result.stdout)
  return result
}
const tresor = (...args: readonly string[]) => succeeds(place.tresor(args))

async function tresorOpens(path: string, keyFile: string): Promise<number> {
  const { code } = await place.tresor(["open", path, "probe", "--key-file", keyFile])
  if (code === 0) await tresor("close", "probe")
  return code
}

function sparse(name: string, size: number): string {
  const path = place.file(name, "")
  truncateSync(path, size)
  return path
}

async function loop(path: string, ...more: readonly string[]): Promise<string> {
  const device = (await succeeds(run("losetup", ["--find", "--show", ...more, path]))).stdout.trim()
  after(() => run("losetup", ["--detach", device]))
  return device
}

test("a block device is used whole, with its own sectors, and not while it is in use", async () => {
  const keyFile = place.file("loop.key", "on a device")
  const image = sparse("loop.img", 32 << 20)
  const device = await loop(image, "--sector-size", "512")
  const recovery = place.path("loop.rec")
  const made = JSON.parse(
    (await tresor("create", device, "--key-file", keyFile, "--recovery-key-file", recovery, "--json", ...FAST)).stdout,
  )
  assert.deepEqual([made.size, made.sectorSize], [32 << 20, 512])
  assert.equal((await run("cryptsetup", ["open", "--test-passphrase", "--key-file", recovery, device])).code, 0)
  await tresor("key", "add", device, "--key-file", keyFile, "--new-key-file", place.file("loop2.key", "x"), ...FAST)
  assert.equal(await tresorOpens(device, place.path("loop2.key")), 0)

  const again = await place.tresor(["create", device, "--key-file", keyFile, "--no-recovery"])
  assert.equal(again.code, 5)
  assert.match(again.stderr, /LUKS.*--force/)
  const sized = await place.tresor(["create", device, "--size", "16M", "--key-file", keyFile, "--force"])
  assert.equal(sized.code, 1)
  assert.match(sized.stderr, /--size/)

  const plain = await loop(sparse("plain.img", 32 << 20))
  const mountPoint = place.path("mnt")
  await succeeds(run("mkdir", [mountPoint]))
  await succeeds(run("mkfs.ext4", ["-q", plain]))
  await succeeds(run("mount", [plain, mountPoint]))
  try {
    const mounted = await place.tresor(["create", plain, "--key-file", keyFile, "--force"])
    assert.equal(mounted.code, 5, mounted.stderr)
    assert.match(mounted.stderr, /^tresor: error: [^\n]+\n$/)
  } finally {
    await succeeds(run("umount", [mountPoint]))
  }
  assert.ok(!readFileSync(plain).subarray(0, 6).equals(Buffer.from("LUKS\xba\xbe", "latin1")))
})

test("a device of 4096-byte sectors gets 4096-byte sectors", async () => {
  const device = await loop(sparse("4k.img", 32 << 20), "--sector-size", "4096")
  const keyFile = place.file("4k.key", "x")
  const args = ["create", device, "--key-file", keyFile, "--no-recovery", "--json", ...FAST]
  assert.equal(JSON.parse((await tresor(...args)).stdout).sectorSize, 4096)
})

test("on an NBD export: create, add, change, remove, wipe; the file behind it is cryptsetup's to read", async () => {
  const image = sparse("nbd.img", 32 << 20)
  const socket = place.path("nbd.sock")
  const server = spawn("nbdkit", ["--foreground", "--exit-with-parent", "-U", socket, "file", image], {
    stdio: "ignore",
  })
  after(() => server.kill())
  const uri = `nbd+unix:///?socket=${socket}`
  await until("nbdkit serves", async () => (await run("nbdinfo", ["--size", uri])).code === 0)
  const [first, second, third] = ["one", "two", "three"].map((text) => place.file(`nbd-${text}.key`, text))
  await tresor("create", uri, "--key-file", first!, "--no-recovery", ...FAST)
  await tresor("key", "add", uri, "--key-file", first!, "--new-key-file", second!, "--portable", ...FAST)
  await tresor("key", "change", uri, "--key-file", second!, "--new-key-file", third!, "--portable", ...FAST)
  assert.equal(await tresorOpens(uri, first!), 0)
  await tresor("key", "remove", uri, "--key-file", first!)
  assert.equal((await run("cryptsetup", ["open", "--test-passphrase", "--key-file", third!, image])).code, 0)
  assert.equal((await run("cryptsetup", ["open", "--test-passphrase", "--key-file", second!, image])).code, 2)
  await tresor("wipe", uri, "--batch-mode")
  assert.match((await run("cryptsetup", ["luksDump", image])).stdout, /Keyslots:\nTokens:/)
})

test("a detached header on an NBD export, its data in a file", async () => {
  const [data, header, socket] = [sparse("apart.img", 16 << 20), sparse("apart.hdr", 16 << 20), place.path("hdr.sock")]
  const server = spawn("nbdkit", ["--foreground", "--exit-with-parent", "-U", socket, "file", header], {
    stdio: "ignore",
  })
  after(() => server.kill())
  const uri = `nbd+unix:///?socket=${socket}`
  await until("nbdkit serves", async () => (await run("nbdinfo", ["--size", uri])).code === 0)
  const key = place.file("apart.key", "apart")
  await tresor("create", data, "--header", uri, "--key-file", key, "--no-recovery", ...FAST)
  await tresor("open", data, "apart", "--header", uri, "--key-file", key)
  await tresor("close", "apart")
})

test("a recovery key of systemd-cryptenroll's is one of ours: recover, adopt beside it, release without it", async () => {
  const keyFile = place.file("systemd.key", "theirs")
  const path = sparse("systemd.img", 24 << 20)
  await succeeds(run("cryptsetup", ["luksFormat", "-q", "--type", "luks2", ...FAST, path, keyFile]))
  const enrolled = await succeeds(run("systemd-cryptenroll", ["--recovery-key", path], { env: { PASSWORD: "theirs" } }))
  const key = place.file("systemd.rec", enrolled.stdout.trim())

  const report = JSON.parse(
    (await tresor("recover", path, "--check-only", "--json", "--recovery-key-file", key)).stdout,
  )
  assert.equal(report.recoveryKeyslot, 1)
  assert.deepEqual(
    report.keyslots.map((each: { slot: number; strength: string }) => [each.slot, each.strength]),
    [[0, "weak"]],
  )

  const ours = place.file("systemd-ours.key", "ours")
  const adopted = await tresor("adopt", path, "--key-file", keyFile, "--new-key-file", ours, ...FAST)
  assert.match(adopted.stdout, /own recovery key/)
  assert.equal(await tresorOpens(path, ours), 0)
  await tresor("release", path, "--key-file", keyFile)
  assert.equal((await run("cryptsetup", ["open", "--test-passphrase", "--key-file", key, path])).code, 0)
  assert.equal((await run("cryptsetup", ["open", "--test-passphrase", "--key-file", keyFile, path])).code, 0)
})

test("systemd-cryptenroll lists what we made and adds to it", async () => {
  const { path } = await place.volume("ours.img", "mine", ["--portable"])
  const before = await succeeds(run("systemd-cryptenroll", [path]))
  assert.match(before.stdout, /0 password/)
  const file = ["--recovery-key-file", place.path("listed.recovery")]
  await tresor("create", place.path("listed.img"), "--size", "20M", "--key-file", `${path}.key`, ...file, ...FAST)
  const listed = await succeeds(run("systemd-cryptenroll", [place.path("listed.img")]))
  assert.match(listed.stdout, /1 recovery/)
  await succeeds(run("systemd-cryptenroll", ["--recovery-key", path], { env: { PASSWORD: "mine" } }))
  assert.equal(await tresorOpens(path, `${path}.key`), 0)
})

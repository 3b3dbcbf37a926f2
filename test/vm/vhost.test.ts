/** Volumes as disks of a Linux guest under QEMU; the guest's log stays under build/vm/vhost. */
import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { alive, Place, run, until } from "../cli/harness.ts"
import { plaintextOf } from "../vhost/judge.ts"
import { root } from "./machine.ts"
import { Guest } from "./vhost-guest.ts"

const place = new Place()
const socket = (name: string) => join(place.runtime, name, "vhost.sock")
const work = await place.volume("work", "correct horse", ["--portable", "--size", "96M"])
const still = await place.volume("still", "correct horse", ["--portable", "--sector-size", "512"])
const steady = await place.volume("steady", "correct horse", ["--portable", "--size", "48M"])
let guest: Guest

async function tresor(...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await place.tresor(words)
  assert.equal(code, 0, stderr)
  return stdout
}
const open = () => tresor("open", work.path, "work", "--key-file", work.keyFile, "--vhost-user", "--allow-discards")
const status = async (name = "work") => JSON.parse(await tresor("status", name, "--json"))

before(async () => {
  await open()
  await tresor("open", still.path, "still", "--key-file", still.keyFile, "--vhost-user", "--readonly")
  await tresor("open", steady.path, "steady", "--key-file", steady.keyFile, "--vhost-user")
  const sockets = [socket("work"), socket("still")]
  guest = await Guest.start({ directory: join(root, "build/vm/vhost"), sockets, once: [socket("steady")] })
})
after(() => guest?.kill())

test("the guest sees two disks as they are", async () => {
  const { uuid, size } = await status()
  assert.equal(await guest.run("cat /sys/block/vda/serial"), uuid.replaceAll("-", "").slice(0, 20))
  assert.equal(await guest.run("blockdev --getsize64 /dev/vda"), String(size))
  const of = (disk: string, what: string) => guest.run(`cat /sys/block/${disk}/${what}`)
  assert.equal(await of("vda", "queue/logical_block_size"), "4096")
  assert.equal(await of("vdb", "queue/logical_block_size"), "512")
  assert.deepEqual([await of("vda", "ro"), await of("vdb", "ro")], ["0", "1"])
  assert.equal(await of("vda", "cache_type"), "write back")
  assert.equal(await guest.run("ls /sys/block/vda/mq | wc -l"), "2")
  assert.notEqual(await of("vda", "queue/discard_max_bytes"), "0")
  assert.equal(await of("vdb", "queue/discard_max_bytes"), "0")
})

test("what the guest writes is there after a reset", async () => {
  await guest.run("/sbin/mke2fs -q -t ext4 /dev/vda && mount -t ext4 /dev/vda /mnt")
  await guest.run("dd if=/dev/urandom of=/mnt/first bs=1M count=20 2>/dev/null && sync")
  const sum = await guest.run("sha256sum /mnt/first")
  await guest.reset()
  await guest.run("mount -t ext4 /dev/vda /mnt")
  assert.equal(await guest.run("sha256sum /mnt/first"), sum)
})

test("the driver is taken off the disk and put on it again", async () => {
  await guest.run("umount /mnt")
  await guest.run(
    "cd /sys/bus/virtio/drivers/virtio_blk && d=$(ls -d virtio* | head -1) && echo $d >unbind && echo $d >bind; cd /",
  )
  await guest.run("mount -t ext4 /dev/vda /mnt && sha256sum /mnt/first")
})

test("a resize is seen at once", async () => {
  const before = Number(await guest.run("blockdev --getsize64 /dev/vda"))
  truncateSync(work.path, statSync(work.path).size + (32 << 20))
  const size = Number((await tresor("resize", "work")).match(/\d+/)?.[0] ?? 0)
  await until("the guest has the size", async () => {
    return Number(await guest.run("blockdev --getsize64 /dev/vda")) === before + (32 << 20)
  })
  assert.ok(size > 0)
  await guest.run("/sbin/resize2fs /dev/vda")
  await guest.run("dd if=/dev/zero of=/mnt/more bs=1M count=70 && sync && rm /mnt/more")
})

test("requests wait while the volume is locked", async () => {
  await guest.run(
    "(dd if=/dev/urandom of=/mnt/locked bs=64k count=64 conv=fsync; echo $? >/tmp/locked) >/dev/null 2>&1 &",
  )
  await tresor("lock", "work")
  await guest.run("sleep 2")
  assert.notEqual((await guest.try("cat /tmp/locked")).output.trim(), "1")
  await until("it waits", async () => (await status()).counters.pending > 0, 60_000)
  await tresor("setkey", "work", "--key-file", work.keyFile)
  await until("it went on", async () => (await guest.try("cat /tmp/locked")).output.trim() === "0", 60_000)
})

test("a guest is paused while its requests wait for a key, and goes on with them", async () => {
  await tresor("lock", "work")
  await guest.run(
    "echo 3 >/proc/sys/vm/drop_caches; (sha256sum /mnt/first >/tmp/paused; echo $? >/tmp/code) >/dev/null 2>&1 &",
  )
  await until("it waits", async () => (await status()).counters.pending > 0, 60_000)
  guest.pause()
  await until("its rings stopped", async () => (await status()).counters.pending === 0)
  await tresor("setkey", "work", "--key-file", work.keyFile)
  guest.resume()
  await until("it went on", async () => (await guest.try("cat /tmp/code")).output.trim() === "0", 60_000)
  assert.equal(await guest.run("cat /tmp/paused"), await guest.run("sha256sum /mnt/first"))
})

test("a machine whose QEMU never connects again keeps its disk while tresords take it over, one after the other", async () => {
  const round = [
    "dd if=/dev/urandom of=/tmp/bytes bs=64k count=16 2>/dev/null",
    "cp /tmp/bytes /tmp/steady/file$((round % 8))",
    "sync",
    "echo 3 >/proc/sys/vm/drop_caches",
    "cmp /tmp/bytes /tmp/steady/file$((round % 8))",
    "round=$((round + 1))",
    "echo $round >/tmp/next",
    "mv /tmp/next /tmp/round",
  ].join(" && ")
  await guest.run("/sbin/mke2fs -q -t ext4 /dev/vdc && mkdir /tmp/steady && mount -t ext4 /dev/vdc /tmp/steady")
  await guest.run("echo 0 >/tmp/round")
  const loop = `round=0; while [ ! -e /tmp/enough ]; do ${round} || { echo failed >/tmp/over; exit; }; done; echo over >/tmp/over`
  await guest.run(`(${loop}) >/dev/null 2>&1 &`)
  const rounds = async () => Number(await guest.run("cat /tmp/round"))
  const goesOn = async () => {
    const before = await rounds()
    await until("the guest writes and reads", async () => (await rounds()) > before + 1, 120_000)
  }
  await goesOn()
  const pids = new Set<number>()
  for (let n = 0; n < 4; n++) {
    await tresor("upgrade", "steady")
    pids.add(place.state("steady").pid)
    await goesOn()
  }
  assert.equal(pids.size, 4)
  const { connections, refused, errors } = (await status("steady")).counters
  assert.deepEqual({ connections, refused, errors }, { connections: 1, refused: 0, errors: 0 })
  await guest.run("touch /tmp/enough")
  await until("it ends", async () => (await guest.try("cat /tmp/over")).code === 0, 120_000)
  assert.equal(await guest.run("cat /tmp/over && umount /tmp/steady"), "over")
})

test("a tresord that is killed under load is opened again, and the guest loses nothing", async () => {
  const writes = "for i in 1 2 3 4 5 6; do dd if=/mnt/first of=/mnt/copy$i bs=256k count=32 conv=fsync || exit 1; done"
  await guest.run(`(sh -c '${writes}'; echo $? >/tmp/killed) >/dev/null 2>&1 &`)
  for (let times = 0; times < 3; times++) {
    const before = (await status()).counters.bytesWritten
    await until("it writes", async () => (await status()).counters.bytesWritten > before + (1 << 20), 60_000)
    const { pid } = place.state("work")
    process.kill(pid, "SIGKILL")
    await until("it is dead", () => !alive(pid))
    await open()
  }
  await until("the writes end", async () => (await guest.try("cat /tmp/killed")).code === 0, 120_000)
  assert.equal(await guest.run("cat /tmp/killed"), "0")
  await guest.run("echo 3 >/proc/sys/vm/drop_caches")
  const sums = await guest.run("for i in 1 2 3 4 5 6; do cmp -n 8388608 /mnt/first /mnt/copy$i || echo differs; done")
  assert.equal(sums, "")
})

test("a size that changed while nobody served the guest is told when somebody does", async () => {
  const before = Number(await guest.run("blockdev --getsize64 /dev/vda"))
  const { pid } = place.state("work")
  process.kill(pid, "SIGKILL")
  await until("it is dead", () => !alive(pid))
  truncateSync(work.path, statSync(work.path).size + (8 << 20))
  await open()
  await until("the guest has the size", async () => {
    return Number(await guest.run("blockdev --getsize64 /dev/vda")) === before + (8 << 20)
  })
})

test("discards give the file's blocks back", async () => {
  await guest.run("rm /mnt/copy*; sync; fstrim /mnt")
  const before = statSync(work.path).blocks
  await guest.run("dd if=/dev/urandom of=/mnt/gone bs=1M count=20 && sync && rm /mnt/gone && sync && fstrim /mnt")
  assert.ok((await status()).counters.discards > 0)
  assert.ok(statSync(work.path).blocks < before + 2048, `${before} ${statSync(work.path).blocks}`)
})

test("a read-only disk is read, and refuses what is written", async () => {
  await guest.run("dd if=/dev/vdb of=/dev/null bs=64k count=16")
  assert.notEqual((await guest.try("dd if=/dev/zero of=/dev/vdb bs=4096 count=1 conv=fsync")).code, 0)
})

test("what is left is what e2fsck and OpenSSL read", async () => {
  const sum = (await guest.run("sha256sum /mnt/first")).split(" ")[0]
  assert.equal(
    await guest.run("dmesg | grep -E 'I/O error|EXT4-fs error|BUG:|WARNING:|Call Trace' || echo none"),
    "none",
  )
  await guest.run("umount /mnt")
  const { size } = await status()
  await guest.stop()
  await tresor("close", "work")
  await tresor("close", "still")
  await tresor("close", "steady")
  const plain = place.path("plain")
  writeFileSync(plain, await plaintextOf(work.path, work.keyFile, 0, size))
  const checked = await run("e2fsck", ["-fn", plain])
  assert.equal(checked.code, 0, checked.stdout)
  const copy = place.path("first")
  await run("debugfs", ["-R", `dump /first ${copy}`, plain])
  assert.equal(createHash("sha256").update(readFileSync(copy)).digest("hex"), sum)
  rmSync(plain)
})

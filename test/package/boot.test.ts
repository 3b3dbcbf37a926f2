/**
 * An installed Debian that boots with volumes in /etc/tresortab and file systems on them in /etc/fstab: systemd as init,
 * passphrases by password agents, a power cut.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { laterKernel } from "../vm/kernels.ts"
import { BootMachine, installModules, SHELL_UNIT } from "./boot-machine.ts"
import { builtPackages } from "./packages.ts"
import { Root } from "./root.ts"

const PACKAGES = "systemd-sysv dbus udev kmod libpam-systemd e2fsprogs nbd-client cryptsetup-bin apparmor".split(" ")
const PASSPHRASE = "correct horse"

const place = new Place()
const images = { root: place.path("root.img"), data: place.path("data.img") }
let machine: BootMachine | null = null

async function createVolume(path: string, size: string, state: string): Promise<void> {
  const key = place.file("key", PASSPHRASE)
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const words = ["create", path, "--size", size, "--key-file", key, "--no-recovery", ...kdf]
  const made = await place.tresor(words, { env: { TRESOR_STATE_DIR: state } })
  assert.equal(made.code, 0, made.stderr)
}

/** On the disk before it was encrypted: an empty ext4. */
async function makeVolume(state: string): Promise<void> {
  await createVolume(images.data, "96M", state)
  execFileSync("mkfs.ext4", ["-q", "-b", "4096", place.path("plain.img"), "64M"])
  await withData(state, async (uri) => {
    const copied = await run("nbdcopy", [place.path("plain.img"), uri])
    assert.equal(copied.code, 0, copied.stderr)
  })
}

async function withData(state: string, work: (uri: string) => Promise<void>): Promise<void> {
  const opened = await place.tresor(["open", images.data, "data", "--key-file", place.path("key"), "--json"], {
    env: { TRESOR_STATE_DIR: state },
  })
  assert.equal(opened.code, 0, opened.stderr)
  try {
    await work((JSON.parse(opened.stdout) as { readonly uri: string }).uri)
  } finally {
    await place.tresor(["close", "data"])
  }
}

before(async () => {
  const { tresor } = builtPackages()
  const debian = new Root("bookworm", PACKAGES)
  try {
    const installed = debian.run(`exec 2>&1; dpkg -i ${debian.take(tresor)}`)
    assert.equal(installed.code, 0, installed.output)
    const tree = debian.folder
    for (const name of ["debs", "usr/sbin/policy-rc.d"]) rmSync(join(tree, name), { recursive: true })
    const put = (path: string, text: string) => {
      mkdirSync(join(tree, path, ".."), { recursive: true })
      writeFileSync(join(tree, path), text)
    }
    put("etc/fstab", "/dev/tresor/data /data ext4 defaults 0 2\n")
    put("etc/keys/file", PASSPHRASE)
    put("etc/denied.img", "")
    put(
      "etc/tresortab",
      `data /dev/vdb none tries=3
gone UUID=00-00 none nofail,x-systemd.device-timeout=5s
file /srv/file.img /etc/keys/file nofail
denied /etc/denied.img - noauto,nbd
`,
    )
    put("etc/systemd/system/test-shell.service", SHELL_UNIT)
    put("etc/systemd/system.conf.d/test.conf", "[Manager]\nDefaultDeviceTimeoutSec=600s\nDefaultTimeoutStartSec=600s\n")
    put("etc/machine-id", "")
    mkdirSync(join(tree, "etc/systemd/system/sysinit.target.wants"), { recursive: true })
    symlinkSync(
      "/etc/systemd/system/test-shell.service",
      join(tree, "etc/systemd/system/sysinit.target.wants/test-shell.service"),
    )
    for (const unit of ["apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_reap.service", "fstrim.timer"])
      symlinkSync("/dev/null", join(tree, "etc/systemd/system", unit))
    mkdirSync(join(tree, "data"))
    installModules(tree, laterKernel(), [
      "nbd",
      "virtio_pci",
      "virtio_blk",
      "virtio_rng",
      "ext4",
      "ublk_drv",
      "dm_mod",
      "autofs4",
    ])
    // The machine secret that the disk's keyslot is sealed with is the machine's.
    await makeVolume(join(tree, "var/lib/tresor"))
    await createVolume(join(tree, "srv/file.img"), "32M", join(tree, "var/lib/tresor"))
    execFileSync("cp", ["-a", join(tree, "var/lib/tresor"), place.path("machine")])
    execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", tree, images.root, "900M"])
  } finally {
    debian.remove()
  }
})
after(() => machine?.cutPower())

const start = async (name: string) => {
  machine = await BootMachine.start(place.path(name), laterKernel(), [images.root, images.data])
  return machine
}

/** One question of a password agent that is open, answered; `null`: it is dismissed. */
async function answer(to: BootMachine, passphrase: string): Promise<string> {
  const ask = "ls /run/systemd/ask-password/ask.* 2>/dev/null | head -1 | grep ."
  const question = (await to.until(ask, 120)).trim()
  const reply = `f=${question}; grep ^Message= $f; printf '%s' '${passphrase}' | /lib/systemd/systemd-reply-password 1 $(sed -n s/^Socket=//p $f)`
  const { code, output } = await to.shell(reply)
  assert.equal(code, 0, output)
  await to.until(`! test -e ${question}`, 60)
  return output
}

test("a wrong passphrase is asked for again, three times; then the boot stops, and says why", async () => {
  const booting = await start("first")
  for (let n = 0; n < 3; n++) assert.match(await answer(booting, `wrong ${n}`), /Message=.*passphrase for \/dev\/vdb/)
  await booting.until("systemctl is-failed tresor-unlock@data.service", 120)
  const { output } = await booting.shell("journalctl -b -o cat -u tresor-unlock@data.service")
  assert.match(output, /No key available with this passphrase\./)
  await booting.until("systemctl is-failed data.mount || systemctl is-active emergency.service", 240)
})

test("a missing device with nofail does not hold the boot", async () => {
  await machine!.until("journalctl -b -o cat | grep 'Dependency failed for.*gone'", 60)
  assert.notEqual((await machine!.shell("systemctl is-active tresor@gone.service")).code, 0)
})

test("a volume in a file, with a key file, is open and can be written, though the unit sees the system read-only", async () => {
  await machine!.until("test -b /dev/tresor/file", 240)
  const { code, output } = await machine!.shell(
    "dd if=/dev/zero of=/dev/tresor/file bs=1M count=4 oflag=direct conv=fsync && systemctl is-active tresor-unlock@file",
  )
  assert.equal(code, 0, output)
})

test("AppArmor confines tresord: its processes have the profile, and a volume where none may be is refused", async () => {
  const profiles = await machine!.shell(
    "for unit in data file; do cat /proc/$(systemctl show -P MainPID tresor@$unit)/attr/current; done",
  )
  assert.equal(profiles.output, "tresord (enforce)\ntresord (enforce)\n")
  assert.notEqual((await machine!.shell("systemctl start tresor@denied")).code, 0)
  const { output } = await machine!.shell("dmesg | grep apparmor=.DENIED")
  assert.match(output, /profile="tresord" name="\/etc\/denied\.img"/)
  // Nothing else that tresord wanted was.
  assert.deepEqual(
    output.split("\n").filter((line) => line !== "" && !line.includes("denied.img")),
    [],
  )
})

test("the boot goes on from there; the right passphrase mounts the file system of fstab", async () => {
  const booted = machine!
  await booted.shell("systemctl --no-block default")
  await answer(booted, PASSPHRASE)
  await booted.until("mountpoint -q /data", 240)
  const { output } = await booted.shell("tresor status data --json; df /data; systemctl is-active tresor@data.service")
  assert.match(output, /"state":"unlocked"/)
  assert.match(output, /\/dev\/(ublkb|dm-)/)
  assert.equal((await booted.shell("echo kept > /data/file && sync /data/file")).code, 0)
})

test("mount(8) opens a file by fstab over the NBD driver, udev knows its link, umount(8) closes it", async () => {
  const made = await machine!.shell(
    "cd /srv && printf pass >key && tresor create small.img --size 24M --key-file key --no-recovery --pbkdf pbkdf2 " +
      "--pbkdf-force-iterations 1000 && tresor mount small.img /mnt --mkfs ext4 --nbd --key-file key && umount /mnt && " +
      "echo '/srv/small.img /mnt tresor noauto,nbd,noatime,key-file=/srv/key,name=small 0 0' >>/etc/fstab",
  )
  assert.equal(made.code, 0, made.output)
  const { code, output } = await machine!.shell(
    "mount /mnt && udevadm settle && grep ' /mnt ' /proc/mounts && udevadm info -q symlink $(readlink -f /dev/tresor/small) && " +
      "umount /mnt && tresor list && ls /dev/tresor",
  )
  assert.equal(code, 0, output)
  assert.match(output, /^\/dev\/nbd0 \/mnt ext4 rw,noatime /m)
  assert.match(output, /(^| )tresor\/small( |$)/m)
  assert.doesNotMatch(output, /^small\b/m, "closed, and its link gone")
})

test("metrics are to be had at the socket that systemd listens on", async () => {
  const { code, output } = await machine!.shell(
    "systemctl start tresor-metrics.socket && perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(q(/run/tresor-metrics.sock)) or die $!; " +
      'print $s "GET /metrics HTTP/1.0\\r\\n\\r\\n"; $s->flush; print while <$s>\'',
  )
  assert.equal(code, 0, output)
  assert.match(output, /^HTTP\/1\.1 200 OK/)
  assert.match(output, /^tresor_volume_up\{name="data",user="0"\} 1$/m)
  assert.match(output, /^# EOF$/m)
})

test("a shutdown unmounts before the volume closes, and leaves a clean file system", async () => {
  await machine!.shell("systemctl poweroff --no-block")
  await machine!.ended(400)
  await withData(place.path("machine"), async (uri) => {
    const copied = await run("nbdcopy", [uri, place.path("after.img")])
    assert.equal(copied.code, 0, copied.stderr)
  })
  const state = await run("dumpe2fs", ["-h", place.path("after.img")])
  assert.match(state.stdout, /^Filesystem state: +clean$/m)
  assert.doesNotMatch(state.stdout, /needs_recovery/)
  const checked = await run("e2fsck", ["-fn", place.path("after.img")])
  assert.equal(checked.code, 0, checked.stdout)
})

test("after a power cut during writes the next boot asks once and mounts what was durable", async () => {
  const booting = await start("second")
  await answer(booting, PASSPHRASE)
  await booting.until("mountpoint -q /data", 300)
  await booting.until("systemctl is-active multi-user.target", 300)
  const writes =
    "echo durable > /data/durable && sync /data/durable && (while :; do dd if=/dev/zero of=/data/busy bs=64k count=200 conv=fdatasync; done >/dev/null 2>&1 &) ; sleep 3"
  assert.equal((await booting.shell(writes)).code, 0)
  booting.cutPower()
  const again = await start("third")
  await answer(again, PASSPHRASE)
  await again.until("mountpoint -q /data", 300)
  assert.equal((await again.shell("cat /data/file /data/durable")).output, "kept\ndurable\n")
  await again.shell("systemctl poweroff --no-block")
  await again.ended(400)
})

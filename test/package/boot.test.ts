/**
 * An installed Debian that boots with volumes in /etc/tresortab and file systems on them in /etc/fstab: systemd as init,
 * passphrases by password agents and from another machine, keys that go when the user does, a power cut.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { Place, run } from "../cli/harness.ts"
import { laterKernel } from "../vm/kernels.ts"
import { BootMachine, installModules, SHELL_UNIT } from "./boot-machine.ts"
import { builtPackages } from "./packages.ts"
import { Root } from "./root.ts"

const PACKAGES = [
  ..."systemd-sysv dbus udev kmod libpam-systemd e2fsprogs nbd-client cryptsetup-bin apparmor openssh-server".split(
    " ",
  ),
  // Tresor's and systemd's way to a TPM.
  ..."libtss2-esys-3.0.2-0 libtss2-tcti-device0 libtss2-rc0".split(" "),
]
const PASSPHRASE = "correct horse"

const place = new Place()
const images = {
  root: place.path("root.img"),
  data: place.path("data.img"),
  net: place.path("net.img"),
  stick: place.path("stick.img"),
}
let machine: BootMachine | null = null

async function createVolume(path: string, size: string, state: string): Promise<void> {
  const key = place.file("key", PASSPHRASE)
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const words = ["create", path, "--size", size, "--key-file", key, "--no-recovery", ...kdf]
  const made = await place.tresor(words, { env: { TRESOR_STATE_DIR: state } })
  assert.equal(made.code, 0, made.stderr)
}

/** With an empty ext4. */
async function makeVolume(path: string, size: number, state: string): Promise<void> {
  await createVolume(path, `${size + 32}M`, state)
  execFileSync("mkfs.ext4", ["-q", "-F", "-b", "4096", place.path("plain.img"), `${size}M`])
  await withVolume(path, state, async (uri) => {
    const copied = await run("nbdcopy", [place.path("plain.img"), uri])
    assert.equal(copied.code, 0, copied.stderr)
  })
  rmSync(place.path("plain.img"))
}

async function withVolume(path: string, state: string, work: (uri: string) => Promise<void>): Promise<void> {
  const opened = await place.tresor(["open", path, "data", "--key-file", place.path("key"), "--json"], {
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
    put("etc/fstab", "/dev/tresor/data /data ext4 defaults 0 2\n/dev/tresor/net /net ext4 _netdev 0 0\n")
    put("etc/keys/file", PASSPHRASE)
    put("etc/denied.img", "")
    put(
      "etc/tresortab",
      `data /dev/vdb none tries=3
gone UUID=00-00 none nofail,x-systemd.device-timeout=5s
file /srv/file.img /etc/keys/file nofail
denied /etc/denied.img - noauto,nbd
moved /srv/moved.img /etc/keys/file noauto,nbd
net /dev/vdc none _netdev
`,
    )
    const address = "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    put("etc/systemd/network/any.network", address)
    put("etc/systemd/system/tresor-lock.service.d/test.conf", "[Service]\nEnvironment=TRESOR_LOCK_OPTIONS=--idle=1\n")
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", place.path("ssh-key")])
    put("root/.ssh/authorized_keys", readFileSync(place.path("ssh-key.pub"), "utf8"))
    put("root/.hushlogin", "")
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
    for (const unit of ["systemd-networkd.service", "systemd-networkd-wait-online.service"]) {
      const target = unit.includes("wait") ? "network-online.target.wants" : "multi-user.target.wants"
      mkdirSync(join(tree, "etc/systemd/system", target), { recursive: true })
      symlinkSync(join("/lib/systemd/system", unit), join(tree, "etc/systemd/system", target, unit))
    }
    for (const folder of ["data", "net", "stick"]) mkdirSync(join(tree, folder))
    installModules(tree, laterKernel(), [
      "nbd",
      "virtio_pci",
      "virtio_blk",
      "virtio_rng",
      "virtio_net",
      "ext4",
      "ublk_drv",
      "dm_mod",
      "autofs4",
    ])
    // The machine secret that the disk's keyslot is sealed with is the machine's.
    await makeVolume(images.data, 64, join(tree, "var/lib/tresor"))
    await makeVolume(images.net, 16, join(tree, "var/lib/tresor"))
    await makeVolume(images.stick, 16, join(tree, "var/lib/tresor"))
    await makeVolume(join(tree, "srv/moved.img"), 8, join(tree, "var/lib/tresor"))
    await createVolume(join(tree, "srv/file.img"), "32M", join(tree, "var/lib/tresor"))
    execFileSync("cp", ["-a", join(tree, "var/lib/tresor"), place.path("machine")])
    execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", tree, images.root, "900M"])
  } finally {
    debian.remove()
  }
})
after(() => machine?.cutPower())

const start = async (name: string, ssh: number | null = null) => {
  const disks = [images.root, images.data, images.net, images.stick]
  machine = await BootMachine.start(place.path(name), laterKernel(), disks, { tpm: place.path("tpm"), ssh })
  return machine
}

const questionFor = (device: string) =>
  `grep -ls 'Message=.* ${device}$' /run/systemd/ask-password/ask.* | head -1 | grep .`

/** The question of a password agent for that device, answered. */
async function answer(to: BootMachine, passphrase: string, device = "/dev/vdb"): Promise<string> {
  const question = (await to.until(questionFor(device), 120)).trim()
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
  assert.equal(output.match(/No key available with this passphrase\./g)?.length, 3)
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

test("/dev/tresor/NAME is udev's, and stays through its events and a takeover; a close takes it away", async () => {
  const to = machine!
  const isUdevs = `udevadm settle && test -b /dev/tresor/file && systemctl is-active dev-tresor-file.device &&
    udevadm info -q symlink $(readlink -f /dev/tresor/file) | tr ' ' '\\n' | grep -x tresor/file`
  const target = async () => (await to.shell("readlink -f /dev/tresor/file")).output
  await to.until(isUdevs, 120)
  const before = await target()
  // As after an upgrade of a package with rules.
  const triggered = await to.shell(
    "udevadm control --reload && udevadm trigger --settle --subsystem-match=block --action=change && udevadm trigger --settle --subsystem-match=block --action=add",
    600,
  )
  assert.equal(triggered.code, 0, triggered.output)
  await to.until(isUdevs, 60)
  assert.equal(await target(), before)
  // systemd starts another, which takes the device over when it has the key.
  const killed = "kill -9 $(systemctl show -P MainPID tresor@file) && udevadm settle && readlink /dev/tresor/file"
  assert.equal((await to.shell(killed)).code, 0, "the link outlives its tresord")
  await to.until("systemctl start tresor-unlock@file", 120)
  await to.until(isUdevs, 60)
  assert.equal(await target(), before)
  assert.equal((await to.shell("dd if=/dev/tresor/file of=/dev/null bs=1M count=4 iflag=direct")).code, 0)
  const closed = await to.shell("systemctl stop tresor@file && udevadm settle && ls -l /dev/tresor/file", 600)
  assert.match(closed.output, /\/dev\/tresor\/file.*No such file/)
  await to.until("! systemctl is-active dev-tresor-file.device", 60)
  assert.equal((await to.shell("systemctl start tresor-unlock@file", 600)).code, 0)
  await to.until(isUdevs, 60)
})

test("AppArmor confines tresord: its processes have the profile, and a volume where none may be is refused", async () => {
  const profiles = await machine!.shell(
    "for unit in data file; do cat /proc/$(systemctl show -P MainPID tresor@$unit)/attr/current; done",
  )
  assert.equal(profiles.output, "tresord (enforce)\ntresord (enforce)\n")
  assert.notEqual((await machine!.shell("systemctl start tresor@denied")).code, 0)
  // It is started again and again: what it says of itself is there until the next start.
  await machine!.until(
    `systemctl status tresor@denied | grep 'Status: "cannot start: .*/etc/denied.img' && test $(systemctl show -P Result tresor@denied) = exit-code`,
    120,
  )
  await machine!.shell("systemctl stop tresor@denied")
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
    600,
  )
  assert.equal(made.code, 0, made.output)
  const { code, output } = await machine!.shell(
    "mount /mnt && udevadm settle && grep ' /mnt ' /proc/mounts && udevadm info -q symlink $(readlink -f /dev/tresor/small) && " +
      "umount /mnt && tresor list && ls /dev/tresor",
    600,
  )
  assert.equal(code, 0, output)
  assert.match(output, /^\/dev\/nbd0 \/mnt ext4 rw,noatime[ ,]/m)
  assert.match(output, /(^| )tresor\/small( |$)/m)
  assert.doesNotMatch(output, /^small\b/m, "closed, and its link gone")
})

/** Writes and reads back until /run/enough is there; /run/rounds counts, /run/writer says how it ended. */
const WRITER = `(n=0; while ! test -e /run/enough; do
  dd if=/dev/urandom of=/stick/bytes bs=64k count=4 conv=fsync && cp /stick/bytes /run/bytes && echo 3 >/proc/sys/vm/drop_caches &&
  cmp /stick/bytes /run/bytes || { echo failed >/run/writer; exit; }; n=$((n + 1)); echo $n >/run/rounds
done; echo over >/run/writer) >/dev/null 2>&1 &`

const UPGRADE_TO_NOTHING = `perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(q(/run/tresor/moved/control.sock)) or die $!; $/ = "\\0";
  print $s q({"method":"io.tresor.Volume.Upgrade","parameters":{"program":["/usr/lib/tresor/dist/tresord","--no-such-option"]}}), "\\0"; $s->flush; print scalar <$s>'`

test("upgrade: the unit follows the new tresord and the mount stays; a takeover that fails leaves the unit as it was", async () => {
  const to = machine!
  const shown = async (...properties: readonly string[]) =>
    (await to.shell(`systemctl show ${properties.map((name) => `-p ${name}`).join(" ")} tresor@moved`)).output
  const unit = () => shown("ActiveState", "SubState", "StatusText", "NRestarts", "InvocationID")
  const mainPid = async () => Number(/MainPID=(\d+)/.exec(await shown("MainPID"))![1])
  const mounted = async () => (await to.shell("grep ' /stick ' /proc/self/mountinfo")).output
  const rounds = async () => Number((await to.shell("cat /run/rounds")).output)
  const goesOn = async () => to.until(`test $(cat /run/rounds) -gt ${(await rounds()) + 1}`, 120)

  const begun = "systemctl start tresor@moved tresor-unlock@moved && tresor mount moved /stick"
  const opened = await to.shell(begun, 600)
  assert.equal(opened.code, 0, opened.output)
  await to.shell(`echo 0 >/run/rounds; ${WRITER}`)
  await goesOn()
  const [before, first, mount] = [await unit(), await mainPid(), await mounted()]
  assert.match(before, /^ActiveState=active\nSubState=running\n/m)
  assert.match(mount, /^\d+ .* \/dev\/nbd\d+ /m)

  const failed = await to.shell(UPGRADE_TO_NOTHING, 300)
  assert.match(failed.output, /Refused/)
  assert.deepEqual([await unit(), await mainPid(), await mounted()], [before, first, mount])
  await goesOn()

  const upgraded = await to.shell("tresor upgrade moved", 300)
  assert.equal(upgraded.code, 0, upgraded.output)
  const second = await mainPid()
  assert.notEqual(second, first)
  assert.deepEqual([await unit(), await mounted()], [before, mount])
  const status = await to.shell("systemctl status tresor@moved; tresor status moved --json")
  assert.match(status.output, new RegExp(`Main PID: ${second} `))
  assert.match(status.output, new RegExp(`"pid":${second},`))
  await goesOn()
  // The old one has left the unit; the new one is confined as it was.
  const group = "/sys/fs/cgroup$(systemctl show -P ControlGroup tresor@moved)"
  await to.until(`test "$(cat ${group}/cgroup.procs)" = ${second}`, 60)
  assert.equal((await to.shell(`cat /proc/${second}/attr/current`)).output, "tresord (enforce)\n")
  // Its own signs of life count.
  const watched = await shown("WatchdogTimestampMonotonic")
  await to.until(`test "$(systemctl show -p WatchdogTimestampMonotonic tresor@moved)" != "${watched.trim()}"`, 60)
  const journal = await to.shell("journalctl -b -o cat -u tresor@moved")
  assert.doesNotMatch(journal.output, /reception only permitted/)
  await to.shell("touch /run/enough")
  assert.match(await to.until("cat /run/writer", 120), /^over$/m)

  const stopped = await to.shell("tresor umount /stick && systemctl stop tresor@moved", 300)
  assert.equal(stopped.code, 0, stopped.output)
  assert.match(
    await shown("ActiveState", "Result", "NRestarts"),
    /^Result=success\nNRestarts=0\nActiveState=inactive$/m,
  )
  assert.notEqual((await to.shell(`test -d /proc/${second} -o -e /run/tresor/moved`)).code, 0)
  assert.match((await to.shell("journalctl -b -o cat -u tresor@moved")).output, /moved: closed/)
})

test("upgrade: systemd notices the end of a tresord that took over, and starts one that waits locked", async () => {
  const to = machine!
  const begun =
    "systemctl start tresor@moved tresor-unlock@moved && tresor upgrade moved && systemctl kill -s KILL tresor@moved"
  const killed = await to.shell(begun, 600)
  assert.equal(killed.code, 0, killed.output)
  await to.until("test $(systemctl show -P NRestarts tresor@moved) = 1", 120)
  await to.until("tresor status moved --json | grep state...locked", 120)
  assert.equal((await to.shell("systemctl stop tresor@moved", 300)).code, 0)
})

test("metrics are to be had at the socket that systemd listens on", async () => {
  const { code, output } = await machine!.shell(
    "systemctl start tresor-metrics.socket && perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(q(/run/tresor-metrics.sock)) or die $!; " +
      'print $s "GET /metrics HTTP/1.0\\r\\n\\r\\n"; $s->flush; print while <$s>\'',
    600,
  )
  assert.equal(code, 0, output)
  assert.match(output, /^HTTP\/1\.1 200 OK/)
  assert.match(output, /^tresor_volume_up\{name="data",user="0"\} 1$/m)
  assert.match(output, /^# EOF$/m)
})

/** As its tresord tells systemd. */
const stateIs = (name: string, state: string) => `test $(systemctl show -P StatusText tresor@${name}) = ${state}`

/** Read past every cache, in the background: /run/NAME says how it ended. */
const read = (device: string, name: string) =>
  `rm -f /run/${name}; (dd if=${device} of=/dev/null bs=4096 count=1 iflag=direct >/dev/null 2>&1; echo $? >/run/${name}) &`

/** A graphical session of a person, whose desktop is a sleeping process. */
const SESSION = `systemd-run -q --unit=person -p PAMName=login -p User=root --setenv=XDG_SESSION_TYPE=x11 \
  --setenv=XDG_SESSION_CLASS=user sleep infinity`

test("tresor-lock: a locked session wipes the keys and I/O waits; unlocked again, an agent asks, and it goes on", async () => {
  const to = machine!
  await to.until("systemctl is-active systemd-logind.service", 240)
  const started = await to.shell(
    `systemctl start tresor-lock.service && ${SESSION}; systemctl status tresor-lock.service`,
  )
  assert.equal(started.code, 0, started.output)
  const session = (await to.until("loginctl list-sessions --no-legend | awk '{ print $1 }' | grep .", 60)).trim()
  assert.equal((await to.shell(`loginctl lock-session ${session}`)).code, 0)
  await to.until(stateIs("data", "locked"), 60)
  await to.shell(read("/dev/tresor/data", "read"))
  // Only with the key would it have ended.
  await to.until("grep -qsx dd /proc/[0-9]*/comm", 60)
  assert.notEqual((await to.shell("test -e /run/read")).code, 0)
  await to.shell(`loginctl unlock-session ${session}`)
  await answer(to, PASSPHRASE)
  await to.until("test -e /run/read", 60)
  assert.equal((await to.shell("cat /run/read")).output, "0\n")
  const { output } = await to.shell("journalctl -b -o cat TRESOR_VOLUME=data _COMM=tresor-lock")
  assert.equal(output, "data: locked, since a session was locked\n")
  // It has a key file, and needs no answer.
  await to.until(stateIs("file", "unlocked"), 60)
})

test("tresor-lock: the keys go when all sessions are idle, and are asked for when one is not", async () => {
  const to = machine!
  const hint = (idle: boolean) =>
    to.shell(
      `busctl call org.freedesktop.login1 $(busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager GetSession s $(loginctl list-sessions --no-legend | awk '{ print $1 }') | cut -d'"' -f2) org.freedesktop.login1.Session SetIdleHint b ${idle}`,
    )
  const idle = await hint(true)
  assert.equal(idle.code, 0, idle.output)
  for (const name of ["data", "file"]) await to.until(stateIs(name, "locked"), 60)
  await hint(false)
  await to.until(stateIs("file", "unlocked"), 60)
  await to.until(questionFor("/dev/vdb"), 60)
})

test("tresor-lock: logind lets the machine sleep once the keys are wiped; awake again, they are brought", async () => {
  const to = machine!
  // The kernel freezes all tasks, waits for five seconds, and is awake again.
  const slept = await to.shell("echo freezer > /sys/power/pm_test && systemctl suspend")
  assert.equal(slept.code, 0, slept.output)
  await to.until("dmesg | grep 'PM: suspend exit'", 120)
  await to.until(stateIs("file", "unlocked"), 60)
  await answer(to, PASSPHRASE)
  await to.until(stateIs("data", "unlocked"), 60)
  const { output } = await to.shell("journalctl -b -o cat | grep -E 'goes to sleep|PM: suspend entry'")
  assert.match(output, /^file: locked, since the machine goes to sleep\nPM: suspend entry/)
})

test("tresor-lock: a device that is pulled out takes the keys along, and its I/O ends in errors", async () => {
  const to = machine!
  const opened = await to.shell(
    "tresor open /dev/vdd stick --block --key-file /etc/keys/file && mount /dev/tresor/stick /stick && touch /stick/x && sync -f /stick",
  )
  assert.equal(opened.code, 0, opened.output)
  await to.shell("echo 1 > $(realpath /sys/block/vdd/device/..)/remove")
  await to.until("tresor status stick --json | grep -q state...failed", 60)
  await to.shell(read("/dev/tresor/stick", "stick.read"))
  await to.until("grep -q 1 /run/stick.read", 60)
  const closed = await to.shell("umount /stick && tresor close stick")
  assert.match(closed.output, /Closed stick and wiped its keys, but data may be lost/)
  const others = await to.shell("tresor list")
  assert.doesNotMatch(others.output, /stick/)
  assert.match(others.output, /^data +unlocked/m)
  // systemd closes what tresortab names.
  await to.shell("echo 1 > $(realpath /sys/block/vdc/device/..)/remove")
  await to.until("! systemctl is-active tresor@net.service", 60)
})

test("a reboot during writes unmounts before the volume closes, and leaves a clean file system", async () => {
  const writer = "while :; do dd if=/dev/zero of=/data/busy bs=64k count=200 conv=fdatasync; done"
  assert.equal((await machine!.shell(`systemd-run -q --unit=writer bash -c '${writer}'`)).code, 0)
  await machine!.until("test -s /data/busy", 60)
  // -no-reboot: the machine ends where it would start again.
  await machine!.shell("systemctl reboot --no-block")
  await machine!.ended(400)
  await withVolume(images.data, place.path("machine"), async (uri) => {
    const copied = await run("nbdcopy", [uri, place.path("after.img")])
    assert.equal(copied.code, 0, copied.stderr)
  })
  const state = await run("dumpe2fs", ["-h", place.path("after.img")])
  assert.match(state.stdout, /^Filesystem state: +clean$/m)
  assert.doesNotMatch(state.stdout, /needs_recovery/)
  const checked = await run("e2fsck", ["-fn", place.path("after.img")])
  assert.equal(checked.code, 0, checked.stdout)
})

/** A port that nobody listens at now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  const { port } = server.address() as { readonly port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** ssh(1) to the second boot. */
let ssh: readonly [string, ...string[]] = ["false"]

test("a machine that waits at boot is unlocked from another one by ssh: the question ends, and the mount is done", async () => {
  const port = await freePort()
  const booting = await start("second", port)
  await answer(booting, PASSPHRASE)
  await booting.until(questionFor("/dev/vdc"), 240)
  const how = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"].flatMap((each) => [
    "-o",
    each,
  ])
  ssh = ["ssh", "-p", `${port}`, "-i", place.path("ssh-key"), ...how]
  const policy = place.path("policy.json")
  assert.equal((await place.tresor(["attest", "policy", "init", "--testing", "--out", policy])).code, 0)
  await booting.until("systemctl is-active ssh.service", 240)
  const words = ["setkey", "net", "--remote", "root@127.0.0.1", "--rsh", ssh.join(" "), "--policy", policy]
  const unlocked = await place.tresor([...words, "--key-file", place.path("key")])
  assert.equal(unlocked.code, 0, unlocked.stderr)
  await booting.until("mountpoint -q /net", 120)
  await booting.until("systemctl is-active multi-user.target", 240)
  await booting.until("! ls /run/systemd/ask-password/ask.*", 60)
  const journal = await booting.shell(
    "journalctl -b -o cat TRESOR_VOLUME=net; journalctl -b -o cat -u tresor-unlock@net",
  )
  assert.match(
    journal.output,
    /^net: ready: path \/dev\/vdc, [^\n]*\nnet: state: unlocked\nStarting tresor-unlock@net[^\n]*\nFinished tresor-unlock@net[^\n]*\n$/,
  )
})

/** A person at a terminal: [text to wait for, text to type], then the end of the session. What the terminal showed. */
async function openAllTyping(...answers: readonly (readonly [string, string])[]): Promise<string> {
  const command = `stty -a >/run/before; tresor open --all; echo "code $?"; stty -a | cmp - /run/before && echo restored;
    read -r line; echo "read $line"`
  const script = JSON.stringify([...answers, ["restored", "typed\n"]])
  const words = [join(import.meta.dirname, "../cli/terminal.py"), script, ...ssh, "-tt", "root@127.0.0.1", command]
  const { code, stdout } = await run("python3", words, { env: { TERMINAL_SECONDS: "600" } })
  assert.equal(code, 0, stdout)
  return stdout.replaceAll("\r", "")
}

test("open --all at a terminal asks there: once for volumes that share a passphrase, again after a wrong one; the terminal is the shell's afterwards", async () => {
  const to = machine!
  assert.equal((await to.shell("cp /etc/tresortab /run/tresortab")).code, 0)
  const table = (change: string) =>
    to.shell(`sed -i '${change}' /etc/tresortab && systemctl daemon-reload && systemctl stop tresor@file`, 300)
  // In a boot they have key files.
  const shared = await table(
    "/^gone/d; s,^file .*,file /srv/file.img - nofail\\,password-cache,; s,^moved .*,moved /srv/moved.img - nofail\\,nbd\\,password-cache,",
  )
  assert.equal(shared.code, 0, shared.output)
  const once = await openAllTyping(["passphrase for /srv/", `${PASSPHRASE}\n`])
  assert.match(once, /^code 0\nrestored\n(.*\n)*read typed$/m)
  assert.ok(!once.includes(PASSPHRASE), once)
  for (const name of ["file", "moved"]) await to.until(stateIs(name, "unlocked"), 60)

  const alone = await table("s,^\\(file .*\\)\\,password-cache$,\\1,")
  assert.equal(alone.code, 0, alone.output)
  const question = "passphrase for /srv/file.img"
  const twice = await openAllTyping([question, "wrong\n"], [question, `${PASSPHRASE}\n`])
  assert.match(twice, /^code 0\nrestored\n(.*\n)*read typed$/m)
  await to.until(stateIs("file", "unlocked"), 60)

  const before = `cp /run/tresortab /etc/tresortab && sync /etc/tresortab && systemctl daemon-reload && systemctl stop tresor@moved tresor@file &&
    systemctl start tresor-unlock@file`
  const restored = await to.shell(before, 300)
  assert.equal(restored.code, 0, restored.output)
})

test("after a power cut during writes the next boot asks once and mounts what was durable", async () => {
  const booting = machine!
  await booting.until("mountpoint -q /data", 300)
  await booting.until("systemctl is-active multi-user.target", 300)
  const writes =
    "echo durable > /data/durable && sync /data/durable && (while :; do dd if=/dev/zero of=/data/busy bs=64k count=200 conv=fdatasync; done >/dev/null 2>&1 &) ; sleep 3"
  // With it goes a file that had the machine secret: the TPM has it now.
  const enrol = "printf 1234 > /run/pin && tresor machine enroll --tpm2 --new-pin-file /run/pin --no-recovery"
  const enrolled = await booting.shell(enrol)
  assert.equal(enrolled.code, 0, enrolled.output)
  assert.equal((await booting.shell("ls -1 /var/lib/tresor")).output, "enclaves\nmachine-secret.tpm2\n")
  assert.equal((await booting.shell(writes)).code, 0)
  booting.cutPower()
  const again = await start("third")
  await answer(again, "4321", "TPM for Tresor")
  await answer(again, "1234", "TPM for Tresor")
  await answer(again, PASSPHRASE)
  await again.until("mountpoint -q /data", 300)
  assert.equal((await again.shell("cat /data/file /data/durable")).output, "kept\ndurable\n")
  const { output } = await again.shell("journalctl -b -o cat -u tresor-machine")
  // A power cut after the PIN was used counts as one too (TPM 2.0 Library, Part 1, Dictionary Attack Protection).
  assert.match(output, /Wrong PIN: the TPM counts 2 of \d+ wrong attempts/)
})

test("the PIN of one boot opens every volume; the drop-in has systemd unseal the machine secret instead", async () => {
  const booted = machine!
  // Its tresord took the secret from the keyring, under filter and profile.
  await booted.until("systemctl is-active tresor-unlock@file", 120)
  assert.match((await booted.shell("tresor machine status")).output, /PIN: +given since the machine started/)
  const change = `set -e
    d=/var/lib/tresor; printf 1234 > /run/pin
    tresor machine unenroll --pin-file /run/pin
    mkdir -p /etc/credstore.encrypted /etc/systemd/system/tresor@.service.d
    systemd-creds encrypt --with-key=host+tpm2 --tpm2-pcrs=7 --name=machine-secret $d/machine-secret /etc/credstore.encrypted/machine-secret
    mv $d/machine-secret /run/machine-secret
    cp /usr/share/doc/tresor/examples/machine-secret.conf /etc/systemd/system/tresor@.service.d
    systemctl daemon-reload
    systemctl restart tresor@file; systemctl start tresor-unlock@file
    tresor status file --json`
  const { code, output } = await booted.shell(`( ${change} )`, 300)
  assert.equal(code, 0, output)
  assert.match(output, /"state":"unlocked"/)
  assert.equal((await booted.shell("ls -1 /var/lib/tresor")).output, "enclaves\n", "nothing made another secret")
  const denied = await booted.shell("dmesg | grep apparmor=.DENIED")
  assert.equal(denied.output, "")
  await booted.shell("systemctl poweroff --no-block")
  await booted.ended(400)
})

/**
 * What the tests need from the system: the tool each one looks for, and the
 * Debian package that brings it. As root the missing ones are installed; else
 * one line names them.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"

const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"]
const onPath = (tool) => directories.some((directory) => existsSync(join(directory, tool)))
const header = (path) => existsSync(path)

/** Package -> whether it is there. */
const unit = {
  gcc: () => onPath("gcc"),
  make: () => onPath("make"),
  "libssl-dev": () => header("/usr/include/openssl/evp.h"),
  "libargon2-dev": () => header("/usr/include/argon2.h"),
}

const integration = {
  ...unit,
  "cryptsetup-bin": () => onPath("cryptsetup"),
  dmsetup: () => onPath("dmsetup"),
  e2fsprogs: () => onPath("mkfs.ext4"),
  xfsprogs: () => onPath("mkfs.xfs"),
  "btrfs-progs": () => onPath("mkfs.btrfs"),
  fdisk: () => onPath("fdisk"),
  fio: () => onPath("fio"),
  fuse3: () => onPath("fusermount3"),
  gdb: () => onPath("gdb"),
  "libnbd-bin": () => onPath("nbdinfo"),
  nbdfuse: () => onPath("nbdfuse"),
  nbdkit: () => onPath("nbdkit"),
  "nbd-client": () => onPath("nbd-client"),
  "qemu-utils": () => onPath("qemu-img"),
  strace: () => onPath("strace"),
  valgrind: () => onPath("valgrind"),
  zsh: () => onPath("zsh"),
  fish: () => onPath("fish"),
  "zbar-tools": () => onPath("zbarimg"),
  clang: () => onPath("clang"),
  "libclang-rt-14-dev": () => header("/usr/lib/llvm-14/lib/clang"),
  binutils: () => onPath("readelf"),
  lowdown: () => onPath("lowdown"),
  mandoc: () => onPath("mandoc"),
}

const vm = {
  ...unit,
  "qemu-system-x86": () => onPath("qemu-system-x86_64"),
  "linux-image-amd64": () => spawnSync("sh", ["-c", "ls /boot/vmlinuz-*-amd64"]).status === 0,
  "linux-headers-amd64": () => spawnSync("sh", ["-c", "ls -d /usr/src/linux-headers-*-amd64"]).status === 0,
  "busybox-static": () => onPath("busybox"),
  cpio: () => onPath("cpio"),
  kmod: () => onPath("depmod"),
  aeskeyfind: () => onPath("aeskeyfind"),
  "cryptsetup-bin": () => onPath("cryptsetup"),
  dmsetup: () => onPath("dmsetup"),
  fio: () => onPath("fio"),
  e2fsprogs: () => onPath("mkfs.ext4"),
  hdparm: () => onPath("hdparm"),
}

const sets = { unit, integration, vm }

/** Installs, or names, what the given test sets lack. Returns false when something stays missing. */
export function ensurePackages(names) {
  const wanted = Object.assign({}, ...names.map((name) => sets[name]))
  const lacking = () =>
    Object.entries(wanted)
      .filter(([, present]) => !present())
      .map(([name]) => name)
  let missing = lacking()
  if (missing.length === 0) return true
  if (process.getuid?.() === 0 && onPath("apt-get")) {
    process.stdout.write(`installing ${missing.join(" ")}\n`)
    const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    for (const args of [
      ["update", "-qq"],
      ["install", "-y", "-qq", "--no-install-recommends", ...missing],
    ]) {
      const done = spawnSync("apt-get", args, { env: environment, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" })
      if (done.status !== 0) process.stderr.write(done.stderr ?? "")
    }
    missing = lacking()
    if (missing.length === 0) return true
  }
  process.stderr.write(`tests: error: cannot run: missing packages; as root: apt-get install ${missing.join(" ")}\n`)
  return false
}

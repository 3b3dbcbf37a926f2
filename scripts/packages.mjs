/**
 * What the tests need from the system: the tool each one looks for, and the
 * Debian package that brings it. As root the missing ones are installed; else
 * one line names them.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"
import { cachedKernel, fetchKernel, laterSeries } from "./kernels.mjs"

const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"]
const onPath = (...tools) => tools.every((tool) => directories.some((directory) => existsSync(join(directory, tool))))

/** Whether a command runs and ends well. */
function works(command, args, input) {
  const env = { ...process.env, PATH: directories.join(delimiter) }
  return (
    spawnSync(command, args, { env, input, stdio: [input === undefined ? "ignore" : "pipe", "ignore", "ignore"] })
      .status === 0
  )
}

/** Whether a line compiles and links: a header or a directory alone shows neither. */
function links(compiler, flags, line = "") {
  const program = `${line}\nint main(void) { return 0; }\n`
  return works(compiler, ["-x", "c", "-", "-o", "/dev/null", ...flags], program)
}

/** Whether the loader finds a library. */
const loads = (library) => works("python3", ["-c", `import ctypes; ctypes.CDLL("${library}")`])

const FUZZED =
  "int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size) { return data && size ? 0 : 0; }"

const said = (command, args) => spawnSync(command, args, { encoding: "utf8" }).stdout ?? ""

/** Whether the distribution has a package of that name; true where apt does not tell. */
const offered = (name) =>
  !onPath("apt-cache") || /^ *Candidate: (?!\(none\))/m.test(said("apt-cache", ["policy", name]))

/** The runtime of the clang that is there, or that the distribution's package stands for: its version is in the name. */
function clangRuntime() {
  const [, major = "14"] =
    /version (\d+)/.exec(said("clang", ["--version"])) ??
    /Depends: clang-(\d+)/.exec(said("apt-cache", ["depends", "clang"])) ??
    []
  return `libclang-rt-${major}-dev`
}

/** Lays out C as the style says; others do otherwise. Debian 13 has none, and the style is then not checked there. */
export const hasClangFormat = () => works("clang-format-14", ["--version"])

/** Packages that bring the same tool where the first name is not one. */
const ELSEWHERE = new Map([["nbdfuse", ["libnbd-bin"]]])
const installable = (name) => (offered(name) ? name : (ELSEWHERE.get(name)?.find(offered) ?? name))

const nbdkitHas = (kind, names) =>
  names.every((name) =>
    works("nbdkit", kind === "filter" ? [`--filter=${name}`, "null", "--version"] : [name, "--version"]),
  )

/** Package -> whether what the tests use of it is there. */
const unit = {
  gcc: () => links("gcc", ["-static-pie"]),
  make: () => works("make", ["--version"]),
  "clang-format-14": () => hasClangFormat() || (!process.env.CI && !offered("clang-format-14")),
  python3: () => works("python3", ["-c", "import ctypes, json, socket"]),
  "libssl-dev": () => links("gcc", ["-lcrypto"], "#include <openssl/evp.h>"),
  "libargon2-dev": () => links("gcc", ["-largon2"], "#include <argon2.h>"),
  // Signatures of others on disks, as their own programs write them.
  "cryptsetup-bin": () => onPath("cryptsetup"),
  e2fsprogs: () => onPath("mkfs.ext4"),
  dmsetup: () => onPath("dmsetup"),
  fdisk: () => onPath("sfdisk"),
  // In Debian 12 it is in util-linux, which every system has.
  "util-linux-extra": () => onPath("fincore"),
}

const integration = {
  ...unit,
  // Unlocks volumes without Tresor.
  "clevis-luks": () => onPath("clevis-luks-bind"),
  tang: () => existsSync("/usr/libexec/tangd"),
  socat: () => onPath("socat"),
  curl: () => onPath("curl"),
  "python3-jsonschema": () => works("/usr/bin/python3", ["-c", "import jsonschema"]),
  "python3-prometheus-client": () => works("/usr/bin/python3", ["-c", "import prometheus_client.openmetrics.parser"]),
  swtpm: () => onPath("swtpm"),
  "tpm2-tools": () => onPath("tpm2_unseal"),
  // What Tresor loads; the header's declarations are compared with ours.
  "libtss2-dev": () => links("gcc", ["-ltss2-esys", "-ltss2-mu"], "#include <tss2/tss2_esys.h>"),
  "libtss2-tcti-swtpm0": () => loads("libtss2-tcti-swtpm.so.0"),
  iproute2: () => onPath("ip", "ss"),
  xfsprogs: () => onPath("mkfs.xfs"),
  "btrfs-progs": () => onPath("mkfs.btrfs"),
  dosfstools: () => onPath("mkfs.vfat", "fsck.vfat"),
  exfatprogs: () => onPath("mkfs.exfat", "fsck.exfat"),
  fio: () => onPath("fio"),
  fuse3: () => onPath("fusermount3"),
  gdb: () => onPath("gdb", "gcore"),
  "libnbd-bin": () => onPath("nbdinfo", "nbdcopy"),
  libvirt0: () => existsSync("/usr/share/libvirt/schemas/domain.rng"),
  "libxml2-utils": () => onPath("xmllint"),
  nbdfuse: () => onPath("nbdfuse"),
  nbdkit: () =>
    works("nbdkit", ["--version"]) &&
    nbdkitHas("plugin", ["file", "memory", "null"]) &&
    nbdkitHas("filter", ["cache", "delay", "error", "log", "luks", "retry"]),
  "nbd-client": () => onPath("nbd-client"),
  "qemu-utils": () => onPath("qemu-img", "qemu-io", "qemu-nbd"),
  "qemu-system-common": () => onPath("qemu-storage-daemon"),
  strace: () => onPath("strace"),
  systemd: () => onPath("systemd-analyze"),
  libseccomp2: () => loads("libseccomp.so.2"),
  valgrind: () => works("valgrind", ["-q", "true"]),
  zsh: () => onPath("zsh"),
  fish: () => onPath("fish"),
  "zbar-tools": () => onPath("zbarimg"),
  clang: () => links("clang", []),
  [clangRuntime()]: () =>
    links("clang", ["-fsanitize=address,undefined"]) &&
    works("clang", ["-x", "c", "-", "-o", "/dev/null", "-fsanitize=fuzzer"], FUZZED),
  binutils: () => onPath("readelf"),
  lowdown: () => onPath("lowdown"),
  // A browser that loads the library.
  chromium: () => works("chromium", ["--version"]),
  mandoc: () => onPath("mandoc"),
}

const vm = {
  ...unit,
  "qemu-system-x86": () => onPath("qemu-system-x86_64"),
  "qemu-utils": () => onPath("qemu-io"),
  "xz-utils": () => onPath("xz"),
  "linux-image-amd64": () => works("sh", ["-c", "ls /boot/vmlinuz-6.1.*-amd64"]),
  "linux-headers-amd64": () => works("sh", ["-c", "ls -d /lib/modules/6.1.*-amd64/build/Makefile"]),
  "busybox-static": () => onPath("busybox"),
  cpio: () => onPath("cpio"),
  kmod: () => onPath("depmod"),
  aeskeyfind: () => onPath("aeskeyfind"),
  fio: () => onPath("fio"),
  hdparm: () => onPath("hdparm"),
  dosfstools: () => onPath("mkfs.vfat"),
  exfatprogs: () => onPath("mkfs.exfat"),
  [`linux-image-${laterSeries}-amd64`]: () => cachedKernel(laterSeries) !== null,
}

/** What packages are built with, judged by, installed in, and what boots them. */
const packaging = {
  ...vm,
  "libnbd-bin": () => onPath("nbdcopy"),
  e2fsprogs: () => onPath("mke2fs", "dumpe2fs"),
  "dpkg-dev": () => onPath("dpkg-shlibdeps", "dpkg-deb"),
  curl: () => onPath("curl"),
  "dbus-daemon": () => onPath("dbus-daemon"),
  "openssh-client": () => onPath("ssh", "ssh-keygen"),
  "libsystemd-dev": () => links("gcc", ["-lsystemd"], "#include <systemd/sd-bus.h>"),
  fakeroot: () => onPath("fakeroot"),
  lintian: () => onPath("lintian"),
  debootstrap: () => onPath("debootstrap"),
  swtpm: () => onPath("swtpm"),
  "util-linux": () => onPath("unshare"),
}

const hasLibrary = (name) => works("pkg-config", ["--exists", name])

/** What the SGX machine is built with, and its firmware. */
const sgxMachine = {
  gcc: () => links("gcc", []),
  make: () => works("make", ["--version"]),
  "dpkg-dev": () => onPath("dpkg-source"),
  patch: () => onPath("patch"),
  meson: () => onPath("meson"),
  "ninja-build": () => onPath("ninja"),
  "pkg-config": () => onPath("pkg-config"),
  "libglib2.0-dev": () => hasLibrary("glib-2.0"),
  "libpixman-1-dev": () => hasLibrary("pixman-1"),
  "nettle-dev": () => hasLibrary("nettle"),
  "libgmp-dev": () => hasLibrary("gmp"),
  "libcap-ng-dev": () => hasLibrary("libcap-ng"),
  "libattr1-dev": () => links("gcc", [], "#include <attr/libattr.h>"),
  seabios: () => existsSync("/usr/share/seabios/bios-256k.bin"),
  "qemu-system-data": () => existsSync("/usr/share/qemu/kvmvapic.bin"),
}

const sgx = {
  ...vm,
  ...sgxMachine,
  "cryptsetup-bin": () => onPath("cryptsetup"),
  "libnbd-bin": () => onPath("nbdcopy"),
}

/** Unpacked beside the system instead of installed. */
const unpacked = new Map([[`linux-image-${laterSeries}-amd64`, () => fetchKernel(laterSeries)]])

const ceph = {
  ...unit,
  "ceph-mon": () => onPath("ceph-mon"),
  "ceph-mgr": () => onPath("ceph-mgr"),
  "ceph-osd": () => onPath("ceph-osd"),
  "ceph-common": () => onPath("ceph", "rados", "rbd"),
  "qemu-utils": () => onPath("qemu-io", "qemu-nbd"),
  "qemu-block-extra": () => existsSync("/usr/lib/x86_64-linux-gnu/qemu/block-rbd.so"),
  fio: () => onPath("fio"),
  iproute2: () => onPath("ip"),
  procps: () => onPath("pgrep"),
}

const sets = { unit, integration, vm, ceph, sgx, sgxMachine, package: packaging }

/** Names of packages that the given test sets lack. For tests of this file. */
export function lackingPackages(names) {
  const wanted = Object.assign({}, ...names.map((name) => sets[name]))
  return Object.entries(wanted)
    .filter(([, present]) => !present())
    .map(([name]) => name)
}

function apt(...args) {
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  const done = spawnSync("apt-get", args, { env: environment, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" })
  if (done.status !== 0) process.stderr.write(done.stderr ?? "")
}

/** Installs, or names, what the given test sets lack. Returns false when something stays missing. */
export function ensurePackages(names) {
  const lacking = () => lackingPackages(names)
  let missing = lacking()
  if (missing.length === 0) return true
  if (process.getuid?.() === 0 && onPath("apt-get")) {
    process.stdout.write(`installing ${missing.join(" ")}\n`)
    apt("update", "-qq")
    const installed = missing.filter((name) => !unpacked.has(name)).map(installable)
    if (installed.length > 0) apt("install", "-y", "-qq", "--no-install-recommends", ...installed)
  }
  for (const name of missing.filter((each) => unpacked.has(each))) {
    try {
      unpacked.get(name)()
    } catch (error) {
      process.stderr.write(`tests: ${error.message}\n`)
    }
  }
  missing = lacking()
  if (missing.length === 0) return true
  process.stderr.write(
    `tests: error: cannot run: missing packages; as root: apt-get install ${missing.map(installable).join(" ")}\n`,
  )
  return false
}

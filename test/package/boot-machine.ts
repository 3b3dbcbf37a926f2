/**
 * A virtual machine that boots an installed Debian with systemd: root on /dev/vda, the console in a log, and a root shell
 * on the second serial line from early in the boot, as the person at the machine.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { basename, join } from "node:path"
import type { Kernel } from "../vm/machine.ts"

/** Before the root is there: its disk and its file system. */
const EARLY = ["virtio_pci", "virtio_blk", "ext4"]

/** Paths of modules and of what they depend on, dependencies first. */
function modulePaths({ release, modulesRoot }: Kernel, names: readonly string[]): readonly string[] {
  const all = names.flatMap((name) =>
    execFileSync("modprobe", ["-d", modulesRoot, "-S", release, "--show-depends", name], { encoding: "utf8" })
      .split("\n")
      .filter((line) => line.startsWith("insmod "))
      .map((line) => line.split(" ")[1]!),
  )
  return [...new Set(all)]
}

/** Puts these modules, and no others, below lib/modules of a root. */
export function installModules(root: string, kernel: Kernel, names: readonly string[]): void {
  const folder = join(root, "usr/lib/modules", kernel.release)
  for (const path of modulePaths(kernel, names)) {
    const inside = join(folder, path.slice(path.indexOf(kernel.release) + kernel.release.length))
    execFileSync("install", ["-D", "-m", "0644", path, inside])
  }
  for (const name of ["modules.order", "modules.builtin", "modules.builtin.modinfo"])
    execFileSync("cp", [join(kernel.modulesRoot, "lib/modules", kernel.release, name), folder])
  execFileSync("depmod", ["-b", join(root, "usr"), kernel.release])
}

function initramfs(directory: string, kernel: Kernel): string {
  const tree = join(directory, "initramfs")
  rmSync(tree, { recursive: true, force: true })
  for (const name of ["bin", "modules", "proc", "sys", "dev", "new"]) mkdirSync(join(tree, name), { recursive: true })
  const names = modulePaths(kernel, EARLY).map((path) => {
    const name = basename(path, ".xz")
    // busybox's insmod takes no compressed ones.
    const module = path.endsWith(".xz") ? execFileSync("xz", ["-dc", path], { maxBuffer: 1 << 26 }) : readFileSync(path)
    writeFileSync(join(tree, "modules", name), module)
    return name
  })
  execFileSync("cp", ["/bin/busybox", join(tree, "bin/busybox")])
  writeFileSync(
    join(tree, "init"),
    `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in ${names.join(" ")}; do $b insmod /modules/$m; done
until [ -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 /dev/vda /new || $b poweroff -f
for d in proc sys dev; do $b mount --move /$d /new/$d; done
exec $b switch_root /new /sbin/init
`,
  )
  chmodSync(join(tree, "init"), 0o755)
  const image = join(directory, "initramfs.cpio")
  const list = execFileSync("find", [".", "-print0"], { cwd: tree })
  const words = ["--null", "--create", "--quiet", "--format=newc"]
  writeFileSync(image, execFileSync("cpio", words, { cwd: tree, input: list, maxBuffer: 1 << 28 }))
  return image
}

/** swtpm(8), which ends with the QEMU that is connected to it; its socket. */
function startTpm(directory: string, state: string): string {
  mkdirSync(state, { recursive: true })
  const socket = join(directory, "tpm.sock")
  rmSync(socket, { force: true })
  const place = ["--tpmstate", `dir=${state}`, "--ctrl", `type=unixio,path=${socket}`]
  execFileSync("swtpm", ["socket", "--tpm2", ...place, "--terminate", "--daemon"])
  return socket
}

/** The shell on the second serial line; in the image's root. Not stopped by a failed boot. */
export const SHELL_UNIT = `[Unit]
Description=Shell of the test
DefaultDependencies=no
IgnoreOnIsolate=yes
[Service]
ExecStart=/bin/bash --noprofile --norc -c "stty -echo -onlcr; exec env PS1= PS2= bash --noprofile --norc"
Environment=PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
Restart=always
SendSIGHUP=yes
[Install]
WantedBy=sysinit.target
`

export class BootMachine {
  readonly #qemu: ChildProcess
  readonly #line: Socket
  readonly #console: string
  #received = ""
  #commands = 0

  private constructor(qemu: ChildProcess, line: Socket, console: string) {
    this.#qemu = qemu
    this.#line = line
    this.#console = console
    line.setEncoding("utf8").on("data", (text: string) => {
      this.#received += text
    })
    line.on("error", () => {})
  }

  /**
   * `disks`: /dev/vda first; what was flushed to them stays when the power is cut. `tpm`: directory in which a TPM 2.0
   * keeps its state. `ssh`: a port of this machine that leads to the machine's ssh; it reaches nothing else.
   */
  static async start(
    directory: string,
    kernel: Kernel,
    disks: readonly string[],
    { tpm, ssh }: { readonly tpm: string; readonly ssh: number | null },
  ): Promise<BootMachine> {
    mkdirSync(directory, { recursive: true })
    const chip = startTpm(directory, tpm)
    const path = join(directory, "line.sock")
    rmSync(path, { force: true })
    const server = createServer()
    server.listen(path)
    await once(server, "listening")
    const console = join(directory, "console.log")
    const drives = disks.flatMap((disk, index) => [
      ...["-drive", `file=${disk},format=raw,if=none,id=disk${index},cache=writeback`],
      ...["-device", `virtio-blk-pci,drive=disk${index}`],
    ])
    const words = [
      ...["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"],
      ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
      ...["-kernel", kernel.image, "-initrd", initramfs(directory, kernel)],
      "-append",
      "console=ttyS0 quiet loglevel=4 panic=-1 root=/dev/vda rw mitigations=off secretmem.enable=1 systemd.default_device_timeout_sec=600",
      ...["-chardev", `socket,id=tpm,path=${chip}`, "-tpmdev", "emulator,id=tpm,chardev=tpm"],
      ...["-device", "tpm-tis,tpmdev=tpm"],
      ...["-serial", `file:${console}`, "-serial", `unix:${path}`, "-device", "virtio-rng-pci"],
      ...drives,
      ...(ssh === null ? [] : ["-netdev", `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${ssh}-:22`]),
      ...(ssh === null ? [] : ["-device", "virtio-net-pci,netdev=net"]),
    ]
    const qemu = spawn("qemu-system-x86_64", words, { stdio: ["ignore", "ignore", "inherit"] })
    const [line] = (await once(server, "connection")) as [Socket]
    server.close()
    const machine = new BootMachine(qemu, line, console)
    await machine.#greet(300)
    return machine
  }

  /** What systemd and the kernel said. */
  console(): string {
    return readFileSync(this.#console, "utf8")
  }

  /** Output of a command of the shell, when it is over; throws after `seconds`. */
  async shell(command: string, seconds = 120): Promise<{ readonly code: number; readonly output: string }> {
    const number = this.#commands++
    this.#received = ""
    // Split in the source, so that an echo does not look like it.
    this.#line.write(`{ ${command}\n} </dev/null 2>&1; printf '%s%s %d\\n' mark ${number}: $?\n`)
    const [before, code] = await this.#wait(new RegExp(`mark${number}: (\\d+)\\r?\\n`), seconds, command)
    return { code: Number(code), output: before.replaceAll("\r", "") }
  }

  /** What came before the match, and its first group. */
  async #wait(end: RegExp, seconds: number, command: string): Promise<readonly [string, string]> {
    for (const deadline = Date.now() + seconds * 1000; ; ) {
      const found = end.exec(this.#received)
      if (found !== null) return [this.#received.slice(0, found.index), found[1] ?? ""]
      if (Date.now() > deadline || this.#qemu.exitCode !== null)
        throw new Error(`no answer to ${command}: ${this.#received}\n${this.console().slice(-3000)}`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  /** Until the shell answers; what is written before it is there may be lost, or come twice. */
  async #greet(seconds: number): Promise<void> {
    for (const deadline = Date.now() + seconds * 1000; ; ) {
      const number = this.#commands++
      this.#line.write(`printf '%s%s\\n' hello ${number}:\n`)
      try {
        await this.#wait(new RegExp(`hello${number}:`), 10, "the first words")
        return
      } catch (error) {
        if (Date.now() > deadline || this.#qemu.exitCode !== null) throw error
      }
    }
  }

  /** Repeats a command until it succeeds. */
  async until(command: string, seconds: number): Promise<string> {
    const { code, output } = await this.shell(
      `for i in $(seq ${seconds}); do out=$( ${command} ) && break; sleep 1; done; r=$?; printf '%s\\n' "$out"; (exit $r)`,
      seconds * 3,
    )
    if (code !== 0) throw new Error(`not within ${seconds} s: ${command}\n${output}\n${this.console().slice(-3000)}`)
    return output
  }

  /** Until the machine has powered itself off. */
  async ended(seconds: number): Promise<void> {
    if (this.#qemu.exitCode !== null) return
    const timer = setTimeout(() => this.cutPower(), seconds * 1000)
    const [code] = (await once(this.#qemu, "exit")) as [number | null]
    clearTimeout(timer)
    if (code !== 0) throw new Error(`The machine did not power off within ${seconds} s\n${this.console().slice(-3000)}`)
  }

  cutPower(): void {
    this.#qemu.kill("SIGKILL")
  }
}

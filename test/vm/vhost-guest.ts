/**
 * A guest with vhost-user-blk disks: Debian's kernel under QEMU's emulation, busybox and e2fsprogs in an initramfs. Its
 * second serial line takes a command of a shell at a time.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, createWriteStream, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer, type Server, type Socket } from "node:net"
import { basename, dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { run } from "./machine.ts"

const MODULES = ["virtio_pci", "virtio_blk", "ext4"]
const PROGRAMS = ["/sbin/mke2fs", "/sbin/resize2fs"]

/** The newest kernel of Debian's that has its modules here. */
function kernel(): string {
  const found = readdirSync("/boot")
    .filter((name) => /^vmlinuz-.*-amd64$/.test(name))
    .map((name) => name.slice("vmlinuz-".length))
    .filter((release) => existsSync(`/lib/modules/${release}/modules.dep`))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
    .at(-1)
  if (found === undefined) throw new Error("Cannot start a guest: no kernel; apt-get install linux-image-amd64")
  return found
}

/** A program and its libraries, at their places. */
function install(tree: string, program: string): void {
  const libraries = [
    ...run("ldd", [program])
      .toString()
      .matchAll(/(\/\S+) \(0x/g),
  ].map(([, path]) => path!)
  for (const path of [program, ...libraries]) {
    mkdirSync(join(tree, dirname(path)), { recursive: true })
    run("cp", ["-L", path, join(tree, path)])
  }
}

function initramfs(directory: string, release: string): string {
  const tree = join(directory, "initramfs")
  rmSync(tree, { recursive: true, force: true })
  for (const name of ["bin", "modules", "proc", "sys", "dev", "mnt", "tmp"])
    mkdirSync(join(tree, name), { recursive: true })
  const modules = MODULES.flatMap((name) =>
    run("modprobe", ["-S", release, "--show-depends", name])
      .toString()
      .split("\n")
      .filter((line) => line.startsWith("insmod "))
      .map((line) => line.split(" ")[1]!),
  )
  // Dependencies first.
  const names = [...new Set(modules)].map((path) => {
    run("cp", [path, join(tree, "modules")])
    return basename(path)
  })
  run("cp", ["/bin/busybox", join(tree, "bin")])
  for (const program of PROGRAMS) install(tree, program)
  writeFileSync(
    join(tree, "init"),
    `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
for m in ${names.join(" ")}; do insmod /modules/$m; done
echo /proc/mounts >/dev/null; ln -s /proc/mounts /etc/mtab 2>/dev/null
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo up >&3
while IFS= read -r line <&3; do
	eval "$line" >/tmp/out 2>&1
	code=$?
	echo "$code $(base64 -w0 /tmp/out)" >&3
done
poweroff -f
`,
  )
  chmodSync(join(tree, "init"), 0o755)
  const image = join(directory, "initramfs.cpio")
  const list = run("find", [".", "-print0"], { cwd: tree })
  writeFileSync(image, run("cpio", ["--null", "--create", "--quiet", "--format=newc"], { cwd: tree, input: list }))
  return image
}

async function listen(path: string): Promise<Server> {
  rmSync(path, { force: true })
  const server = createServer().listen(path)
  await once(server, "listening")
  return server
}

async function connected(path: string): Promise<Socket> {
  for (let tries = 0; ; tries++) {
    const socket = connect(path)
    try {
      await once(socket, "connect")
      return socket
    } catch (error) {
      if (tries === 100) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

export interface GuestOptions {
  /** Where console.log and sockets lie; made when missing. */
  readonly directory: string
  /** QEMU connects again to the first, when they close; to the others it never does. */
  readonly sockets: readonly string[]
  readonly once: readonly string[]
}

export class Guest {
  readonly #qemu: ChildProcess
  readonly #ended: Promise<unknown>
  readonly #line: Socket
  readonly #lines: AsyncIterator<string>
  readonly #monitor: Socket

  private constructor(qemu: ChildProcess, line: Socket, monitor: Socket) {
    this.#qemu = qemu
    this.#ended = once(qemu, "exit")
    this.#line = line
    this.#lines = createInterface({ input: line })[Symbol.asyncIterator]()
    this.#monitor = monitor
  }

  /** Booted: it takes commands. */
  static async start({ directory, sockets, once: lasting }: GuestOptions): Promise<Guest> {
    mkdirSync(directory, { recursive: true })
    const release = kernel()
    const initrd = initramfs(directory, release)
    const linePath = join(directory, "line.sock")
    const monitorPath = join(directory, "monitor.sock")
    rmSync(monitorPath, { force: true })
    const server = await listen(linePath)
    const qemu = spawn(
      "qemu-system-x86_64",
      [
        ...["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512"],
        ...["-object", "memory-backend-memfd,id=mem,size=512M,share=on", "-machine", "memory-backend=mem"],
        ...["-nodefaults", "-no-user-config", "-display", "none"],
        ...["-kernel", `/boot/vmlinuz-${release}`, "-initrd", initrd],
        ...["-append", "console=ttyS0 quiet panic=-1 mitigations=off"],
        ...["-serial", `file:${join(directory, "console.log")}`, "-serial", `unix:${linePath}`],
        ...["-qmp", `unix:${monitorPath},server=on,wait=off`],
        ...[...sockets.map((path) => `${path},reconnect=1`), ...lasting].flatMap((path, number) => [
          ...["-chardev", `socket,id=c${number},path=${path}`],
          ...["-device", `vhost-user-blk-pci,chardev=c${number},num-queues=2`],
        ]),
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    )
    qemu.stderr!.pipe(createWriteStream(join(directory, "qemu.log")))
    const [line] = (await Promise.race([
      once(server, "connection"),
      once(qemu, "exit").then(() => Promise.reject(new Error(`QEMU ended; see ${join(directory, "qemu.log")}`))),
    ])) as [Socket]
    server.close()
    const guest = new Guest(qemu, line, await connected(monitorPath))
    guest.#monitor.resume()
    guest.#monitor.write('{"execute":"qmp_capabilities"}\n')
    await guest.#booted()
    return guest
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error("the guest is gone")
    return value
  }

  async #booted(): Promise<void> {
    while ((await this.#next()) !== "up") {
      // What a reset left of a line.
    }
  }

  /** Its exit code and what it printed. */
  async try(command: string): Promise<{ readonly code: number; readonly output: string }> {
    this.#line.write(`${command}\n`)
    const [code, output = ""] = (await this.#next()).split(" ")
    return { code: Number(code), output: Buffer.from(output, "base64").toString() }
  }

  async run(command: string): Promise<string> {
    const { code, output } = await this.try(command)
    if (code !== 0) throw new Error(`${command}: ${code}: ${output}`)
    return output.trim()
  }

  /** As by the button: the guest is not asked. */
  async reset(): Promise<void> {
    this.#monitor.write('{"execute":"system_reset"}\n')
    await this.#booted()
  }

  /** Stopped, its disks are too. */
  pause(): void {
    this.#monitor.write('{"execute":"stop"}\n')
  }

  resume(): void {
    this.#monitor.write('{"execute":"cont"}\n')
  }

  async stop(): Promise<void> {
    this.#line.write("sync; poweroff -f\n")
    await this.#ended
  }

  kill(): void {
    this.#qemu.kill("SIGKILL")
  }
}

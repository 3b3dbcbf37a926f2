/**
 * A virtual machine on a kernel of Debian's, emulated by QEMU. Its root is
 * the host's, read-only over 9p, under an overlay in memory. Two serial lines:
 * the console, kept as a log, and a line protocol with guest.sh.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, createWriteStream, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer, type Server, type Socket } from "node:net"
import { basename, join } from "node:path"
import { createInterface } from "node:readline"

export const root = join(import.meta.dirname, "..", "..")

/** What the guest needs before it sees the host's files. */
const early = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]

/** A kernel to boot. */
export interface Kernel {
  readonly release: string
  readonly image: string
  /** Where lib/modules/RELEASE is: the host's root, or a folder of the cache. */
  readonly modulesRoot: string
}

export function run(command: string, args: readonly string[], options: { cwd?: string; input?: Buffer } = {}): Buffer {
  const done = spawnSync(command, args, { maxBuffer: 1 << 30, ...options })
  if (done.error !== undefined) throw done.error
  if (done.status !== 0) {
    throw new Error(`${command} ${args.join(" ")} failed:\n${done.stdout}${done.stderr}`)
  }
  return done.stdout
}

function initramfs(directory: string, { release, modulesRoot }: Kernel, guest: string): string {
  const tree = join(directory, "initramfs")
  rmSync(tree, { recursive: true, force: true })
  for (const name of ["bin", "modules", "proc", "sys", "dev", "ro", "rw", "new"])
    mkdirSync(join(tree, name), { recursive: true })
  // Dependencies first; what is built in prints no line.
  const modules = early.flatMap((name) =>
    run("modprobe", ["-d", modulesRoot, "-S", release, "--show-depends", name])
      .toString()
      .split("\n")
      .filter((line) => line.startsWith("insmod "))
      .map((line) => line.split(" ")[1] ?? ""),
  )
  const names = [...new Set(modules)].map((path) => {
    const name = basename(path, ".xz")
    // busybox's insmod takes no compressed ones.
    if (path.endsWith(".xz")) writeFileSync(join(tree, "modules", name), run("xz", ["-dc", path]))
    else run("cp", [path, join(tree, "modules")])
    return name
  })
  run("cp", ["/bin/busybox", join(tree, "bin", "busybox")])
  writeFileSync(
    join(tree, "init"),
    `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in ${names.join(" ")}; do $b insmod /modules/$m; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose root /ro || $b poweroff -f
$b mount -t tmpfs -o size=70% rw /rw; $b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /new
[ -e /new/lib/modules/${release}/modules.dep ] || {
	$b mkdir -p /new/lib/modules/${release}
	$b mount --bind /new${join(modulesRoot, "lib/modules", release)} /new/lib/modules/${release}
}
for d in proc sys dev; do $b mount --move /$d /new/$d; done
$b mount -t tmpfs run /new/run
exec $b switch_root /new /bin/bash -c 'cd ${root} && exec bash ${guest}'
`,
  )
  chmodSync(join(tree, "init"), 0o755)
  const image = join(directory, "initramfs.cpio")
  const list = run("find", [".", "-print0"], { cwd: tree })
  writeFileSync(image, run("cpio", ["--null", "--create", "--quiet", "--format=newc"], { cwd: tree, input: list }))
  return image
}

/** QEMU's blklogwrites notes every write and flush of `image` in `log`. */
export interface Disk {
  readonly image: string
  readonly log: string
}

export interface MachineOptions {
  readonly kernel: Kernel
  /** Words for guest.sh: which parts to run. */
  readonly parts: readonly string[]
  /** More words for the kernel's command line. */
  readonly kernelWords?: string
  /** First process of the machine, a script of the repository; test/vm/guest.sh when missing. */
  readonly guest?: string
  /** QEMU's program; Debian's when missing. */
  readonly program?: string
  /** More arguments for it. */
  readonly arguments?: readonly string[]
  readonly processors?: number
  /** QEMU's -cpu; everything it can emulate when missing. */
  readonly cpu?: string
  readonly memoryMib: number
  /** /dev/vda first. */
  readonly disks?: readonly Disk[]
  readonly seconds: number
  /** Where console.log, guest.log (the lines), dumps and disks lie; made when missing. */
  readonly directory: string
}

/** Answers one line of the guest; what it returns is sent back. */
export type LineHandler = (line: string, machine: Machine) => Promise<string | undefined> | string | undefined

/** The drive keeps its write cache: only a flush makes a write durable, and the log knows which came before one. */
function disk({ image, log }: Disk, number: number): string[] {
  const file = (node: string, path: string) => ["-blockdev", `driver=file,node-name=${node},filename=${path}`]
  return [
    ...file(`image${number}`, image),
    ...file(`log${number}`, log),
    ...["-blockdev", `driver=blklogwrites,node-name=disk${number},file=image${number},log=log${number}`],
    ...["-device", `virtio-blk-pci,drive=disk${number},write-cache=on`],
  ]
}

export class Machine {
  readonly directory: string
  readonly #qemu: ChildProcess
  readonly #monitor: Socket
  readonly #replies: AsyncIterator<string>

  constructor(directory: string, qemu: ChildProcess, monitor: Socket) {
    this.directory = directory
    this.#qemu = qemu
    this.#monitor = monitor
    this.#replies = createInterface({ input: monitor })[Symbol.asyncIterator]()
  }

  /** Boots, serves the guest's lines until it powers off. Rejects when its time is over. */
  static async run(options: MachineOptions, onLine: LineHandler): Promise<void> {
    const { directory } = options
    mkdirSync(directory, { recursive: true })
    const line = await listen(join(directory, "line.sock"))
    const monitorPath = join(directory, "monitor.sock")
    rmSync(monitorPath, { force: true })
    const qemu = spawn(
      options.program ?? "qemu-system-x86_64",
      [
        ...(options.arguments ?? []),
        ...[
          "-accel",
          "tcg,thread=multi",
          "-cpu",
          options.cpu ?? "max",
          "-smp",
          `${options.processors ?? 2}`,
          "-m",
          `${options.memoryMib}`,
        ],
        ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
        ...[
          "-kernel",
          options.kernel.image,
          "-initrd",
          initramfs(directory, options.kernel, options.guest ?? "test/vm/guest.sh"),
        ],
        "-append",
        `console=ttyS0 quiet loglevel=5 panic=-1 secretmem.enable=1 mitigations=off tresor.parts=${options.parts.join(",")} ${options.kernelWords ?? ""}`,
        ...["-serial", `file:${join(directory, "console.log")}`, "-serial", `unix:${join(directory, "line.sock")}`],
        ...["-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"],
        ...["-device", "virtio-9p-pci,fsdev=root,mount_tag=root", "-device", "virtio-rng-pci"],
        ...(options.disks ?? []).flatMap(disk),
        ...["-qmp", `unix:${monitorPath},server=on,wait=off`],
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    )
    const errors = createWriteStream(join(directory, "qemu.log"))
    qemu.stderr?.pipe(errors)
    const lines = createWriteStream(join(directory, "guest.log"))
    const ended = once(qemu, "exit")
    let late = false
    const timer = setTimeout(() => {
      late = true
      qemu.kill("SIGKILL")
    }, options.seconds * 1000)
    try {
      const [guest] = (await Promise.race([
        once(line, "connection"),
        ended.then(() => Promise.reject(new Error(`QEMU ended at once; see ${join(directory, "qemu.log")}`))),
      ])) as [Socket]
      guest.on("error", () => undefined)
      const machine = new Machine(directory, qemu, await connectMonitor(monitorPath))
      await machine.command("qmp_capabilities")
      const started = Date.now()
      for await (const text of createInterface({ input: guest })) {
        if (!text.startsWith("page "))
          lines.write(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} ${text}\n`)
        const answer = await onLine(text.replace(/\r$/, ""), machine)
        if (answer !== undefined) guest.write(`${answer}\n`)
      }
      await ended
      machine.#monitor.destroy()
      if (late)
        throw new Error(`The machine did not end within ${options.seconds} s; see ${join(directory, "console.log")}`)
    } finally {
      clearTimeout(timer)
      qemu.kill("SIGKILL")
      line.close()
      errors.end()
      lines.end()
    }
  }

  async command(execute: string, args: Record<string, unknown> = {}): Promise<unknown> {
    this.#monitor.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    for (;;) {
      const { value, done } = await this.#replies.next()
      if (done === true) throw new Error(`QEMU went away during ${execute}`)
      const reply = JSON.parse(value) as { return?: unknown; error?: { desc: string } }
      if (reply.error !== undefined) throw new Error(`${execute}: ${reply.error.desc}`)
      if ("return" in reply) return reply.return
    }
  }

  /** At once: what was in the guest's memory is gone. */
  cutPower(): void {
    this.#qemu.kill("SIGKILL")
  }

  /** The guest's whole memory as an ELF core. It stands still meanwhile. */
  async dumpMemory(): Promise<string> {
    const path = join(this.directory, "memory.elf")
    rmSync(path, { force: true })
    await this.command("dump-guest-memory", { paging: false, protocol: `file:${path}` })
    return path
  }
}

async function listen(path: string): Promise<Server> {
  rmSync(path, { force: true })
  const server = createServer()
  server.listen(path)
  await once(server, "listening")
  return server
}

async function connectMonitor(path: string): Promise<Socket> {
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

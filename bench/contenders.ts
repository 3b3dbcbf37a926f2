/**
 * The servers compared, each with a backing file of the same size and content:
 * ours, and the peers people would use instead. LUKS1 is what nbdkit and qemu
 * read; the cipher is the same.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { copyFileSync, mkdirSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { NbdClient } from "../src/nbd/client.ts"

const run = promisify(execFile)

export interface Server {
  readonly socket: string
  readonly pid: number
  readonly stop: () => Promise<void>
}

/** A server of a file. */
export interface FileServer extends Server {
  readonly image: string
}

/** What SGX papers measure for an entry and exit with current microcode, both together. */
export const MODELLED_CYCLES = 14_000

const CHUNK = 1 << 20

/** For a server to end by itself. */
const END_MS = 5000

const CHECKOUT = fileURLToPath(new URL("..", import.meta.url))

/** The command line as installed in this checkout, or another one, with its state in `folder`. */
export function tresorIn(folder: string, checkout = CHECKOUT): (...args: string[]) => Promise<string> {
  const env = { ...process.env, TRESOR_RUNTIME_DIR: join(folder, "run"), TRESOR_STATE_DIR: join(folder, "state") }
  return async (...args) => (await run(join(checkout, "tresor"), args, { env })).stdout
}

/** A text key: nbdkit reads a key file as a line. */
export function writeKey(folder: string): string {
  const path = join(folder, "key")
  writeFileSync(path, randomBytes(24).toString("hex"), { mode: 0o600 })
  return path
}

/** What a header takes of an image: its data begin there. */
export const HEADER = 16 << 20

/** A tresor volume of at least `size` bytes of data, whose KDF costs nothing. */
export async function createVolume(folder: string, path: string, size: number, checkout?: string): Promise<void> {
  const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  await tresorIn(folder, checkout)(
    "create",
    path,
    "--size",
    String(size + HEADER),
    "--key-file",
    join(folder, "key"),
    "--no-recovery",
    ...cheap,
  )
}

export async function openTresor(
  folder: string,
  path: string,
  name: string,
  options: readonly string[] = [],
  checkout?: string,
): Promise<Server> {
  const tresor = tresorIn(folder, checkout)
  const opened = await tresor("open", path, name, "--key-file", join(folder, "key"), "--json", ...options)
  const { socket, pid } = JSON.parse(opened) as { socket: string; pid: number }
  return { socket, pid, stop: async () => void (await tresor("close", name)) }
}

/** Random content through the server itself, so that no file has holes and reads decrypt something. */
async function fill(socket: string, size: number): Promise<void> {
  await using client = await NbdClient.connect(socket)
  const chunk = randomBytes(CHUNK)
  for (let at = 0; at < size; at += CHUNK) await client.write(at, chunk)
  await client.flush()
}

/**
 * Replaces a file by a copy. How it was written decides the size of its folios in
 * the page cache, and that what a write of 4 KiB costs, by a factor of six: all
 * contenders' files are written in the same pieces.
 */
async function layOut(path: string): Promise<void> {
  const copy = `${path}.copy`
  await run("dd", [`if=${path}`, `of=${copy}`, "bs=128K", "conv=fsync", "status=none"])
  renameSync(copy, path)
}

/** Keeps a file in the page cache until it is stopped: this would else measure the disk, now and then. */
async function lockInMemory(path: string): Promise<() => Promise<void>> {
  const child = spawn("vmtouch", ["-q", "-l", path], { stdio: "ignore" })
  await new Promise<void>((resolve, reject) => child.once("spawn", resolve).once("error", reject))
  return () => end(child)
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once("exit", resolve))
  child.kill("SIGTERM")
  // qemu-storage-daemon may wait for a client that was interrupted as well, for ever; nothing of its file is needed.
  const kill = setTimeout(() => child.kill("SIGKILL"), END_MS)
  await ended
  clearTimeout(kill)
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => resolve(true)).once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })
}

/** Starts a server in the foreground and waits for its socket. */
async function serve(socket: string, command: string, args: readonly string[]): Promise<Server> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] })
  let said = ""
  child.stderr.on("data", (data) => {
    said += data
  })
  let failed: Error | null = null
  child.once("error", (error) => {
    failed = error
  })
  // The socket is there before anybody listens.
  for (let tries = 0; !(await accepts(socket)); tries++) {
    if (failed !== null) throw failed
    if (child.exitCode !== null || tries > 500) throw new Error(`${command} does not serve: ${said}`)
    await sleep(10)
  }
  const stop = async () => {
    await end(child)
    rmSync(socket, { force: true })
  }
  return { socket, pid: child.pid!, stop }
}

function reserve(path: string, size: number): void {
  writeFileSync(path, "")
  truncateSync(path, size)
}

export interface StageOptions {
  /** Everything lies there. */
  readonly folder: string
  /** Bytes of data of each contender. */
  readonly size: number
  readonly progress: (what: string) => void
}

export interface OursOptions {
  /** Of `tresor open`. */
  readonly options?: readonly string[]
  /** The file is kept in the page cache. */
  readonly locked: boolean
  /** Another checkout of Tresor. */
  readonly checkout?: string
}

/** Servers and their files, filled and laid out alike, until `stop`. */
export class Stage {
  readonly folder: string
  readonly #size: number
  readonly #progress: (what: string) => void
  readonly #key: string
  readonly #undo: (() => Promise<void>)[] = []
  #stopped: Promise<void> | null = null

  constructor({ folder, size, progress }: StageOptions) {
    this.folder = folder
    this.#size = size
    this.#progress = progress
    this.#key = writeKey(folder)
  }

  /** An interrupt and what it breaks off both wait for the end of all that was started. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    for (const step of this.#undo.splice(0).reverse()) await step()
  }

  #path(name: string): string {
    return join(this.folder, name)
  }

  /** Fills a file through its own NBD server, lays it out, and serves it, by the same one or another. */
  async #prepare(
    image: string,
    locked: boolean,
    start: () => Promise<Server>,
    serving: () => Promise<Server> = start,
  ): Promise<FileServer> {
    this.#progress(`${image}: filling it`)
    const filling = await start()
    await fill(filling.socket, this.#size)
    await filling.stop()
    await layOut(image)
    const server = await serving()
    this.#undo.push(server.stop)
    if (locked) this.#undo.push(await lockInMemory(image))
    return { ...server, image }
  }

  /** Each checkout signs its own enclave, and has a state of its own. */
  #home(name: string, checkout: string | undefined): string {
    if (checkout === undefined) return this.folder
    const folder = this.#path(`${name}-home`)
    mkdirSync(folder)
    copyFileSync(this.#key, join(folder, "key"))
    return folder
  }

  /** `name`: of the volume and of its file. */
  async ours(name: string, { options = [], locked, checkout }: OursOptions): Promise<FileServer> {
    const folder = this.#home(name, checkout)
    const image = this.#path(name)
    await createVolume(folder, image, this.#size, checkout)
    return this.#prepare(image, locked, () =>
      openTresor(folder, image, name, ["--backend", "software", ...options], checkout),
    )
  }

  #nbdkit(socket: string, ...args: string[]): Promise<Server> {
    return serve(socket, "nbdkit", ["--foreground", "--exit-with-parent", "--unix", socket, ...args])
  }

  /** Does not encrypt. */
  nbdkitFile(locked: boolean): Promise<Server> {
    const image = this.#path("file")
    reserve(image, this.#size)
    return this.#prepare(image, locked, () => this.#nbdkit(this.#path("file.sock"), "file", image))
  }

  /** The same of another contender's file: of where the disk has it, and what else lies there, neither has more. */
  async nbdkitBeside({ image }: FileServer): Promise<Server> {
    const server = await this.#nbdkit(`${image}.nbdkit`, "file", image)
    this.#undo.push(server.stop)
    return server
  }

  async #luksFile(name: string): Promise<string> {
    const image = this.#path(name)
    reserve(image, this.#size + (4 << 20))
    const format = ["luksFormat", "--batch-mode", "--type", "luks1", "--cipher", "aes-xts-plain64"]
    await run("cryptsetup", [...format, "--key-size", "512", "--pbkdf-force-iterations", "1000", image, this.#key])
    return image
  }

  async nbdkitLuks(locked: boolean): Promise<Server> {
    const image = await this.#luksFile("nbdkit-luks")
    return this.#prepare(image, locked, () =>
      this.#nbdkit(this.#path("luks.sock"), "--filter=luks", "file", image, `passphrase=+${this.#key}`),
    )
  }

  #qemuNbdLuks(image: string): Promise<Server> {
    const socket = this.#path("qemu.sock")
    const source = `driver=luks,key-secret=key,file.driver=file,file.filename=${image}`
    const settings = ["--image-opts", source, "--cache=writeback", "--persistent", "--shared=8", `--socket=${socket}`]
    return serve(socket, "qemu-nbd", [...this.#secret(), ...settings])
  }

  #secret(): string[] {
    return ["--object", `secret,id=key,file=${this.#key}`]
  }

  async qemuLuks(locked: boolean): Promise<Server> {
    const image = await this.#luksFile("qemu-luks")
    return this.#prepare(image, locked, () => this.#qemuNbdLuks(image))
  }

  /** As a disk of a virtual machine, locked in memory. */
  async oursVhost(name: string, checkout?: string): Promise<Server> {
    const folder = this.#home(name, checkout)
    const image = this.#path(name)
    await createVolume(folder, image, this.#size, checkout)
    const open = (...options: string[]) =>
      openTresor(folder, image, name, ["--backend", "software", ...options], checkout)
    return this.#prepare(image, true, open, () => open("--vhost-user"))
  }

  /** qemu-storage-daemon's vhost-user-blk export of a node over a file, with a thread of its own. */
  #qemuVhost(name: string, image: string, node: readonly string[]): Promise<Server> {
    const socket = this.#path(`${name}.sock`)
    return serve(socket, "qemu-storage-daemon", [
      ...["--object", "iothread,id=io"],
      ...["--blockdev", `driver=file,node-name=file,filename=${image},aio=io_uring`],
      ...node,
      "--export",
      `type=vhost-user-blk,id=export,node-name=node,addr.type=unix,addr.path=${socket},writable=on,num-queues=2,iothread=io`,
    ])
  }

  /** Does not encrypt. */
  async qemuVhostRaw(): Promise<Server> {
    const image = this.#path("qemu-raw")
    reserve(image, this.#size)
    return this.#prepare(
      image,
      true,
      () => this.#nbdkit(this.#path("qemu-raw-nbd.sock"), "file", image),
      () => this.#qemuVhost("qemu-raw", image, ["--blockdev", "driver=raw,node-name=node,file=file"]),
    )
  }

  async qemuVhostLuks(): Promise<Server> {
    const image = await this.#luksFile("qemu-vhost-luks")
    const node = [...this.#secret(), "--blockdev", "driver=luks,node-name=node,file=file,key-secret=key"]
    return this.#prepare(
      image,
      true,
      () => this.#qemuNbdLuks(image),
      () => this.#qemuVhost("qemu-vhost-luks", image, node),
    )
  }
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

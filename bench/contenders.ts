/**
 * The servers compared, each with a backing file of the same size and content:
 * ours, and the peers people would use instead. LUKS1 is what nbdkit and qemu
 * read; the cipher is the same.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { existsSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { NbdClient } from "../src/nbd/client.ts"

const run = promisify(execFile)

export type ContenderName = "tresor" | "tresor, transitions" | "nbdkit file" | "nbdkit luks" | "qemu-nbd luks"

export interface Server {
  readonly socket: string
  readonly pid: number
  readonly stop: () => Promise<void>
}

export interface Contender extends Server {
  readonly name: ContenderName
}

/** What SGX papers measure for an entry and exit with current microcode, both together. */
export const MODELLED_CYCLES = 14_000

const CHUNK = 1 << 20

/** The command line as installed in this checkout, with its state in `folder`. */
export function tresorIn(folder: string): (...args: string[]) => Promise<string> {
  const env = { ...process.env, TRESOR_RUNTIME_DIR: join(folder, "run"), TRESOR_STATE_DIR: join(folder, "state") }
  const command = fileURLToPath(new URL("../tresor", import.meta.url))
  return async (...args) => (await run(command, args, { env })).stdout
}

/** A text key: nbdkit reads a key file as a line. */
export function writeKey(folder: string): string {
  const path = join(folder, "key")
  writeFileSync(path, randomBytes(24).toString("hex"), { mode: 0o600 })
  return path
}

/** What a header takes at most of an image: its room for data is then at least what is asked for. */
const HEADER = 16 << 20

/** A tresor volume of at least `size` bytes of data, whose KDF costs nothing. */
export async function createVolume(folder: string, path: string, size: number): Promise<void> {
  const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  await tresorIn(folder)(
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
): Promise<Server> {
  const tresor = tresorIn(folder)
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
  await ended
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
  for (let tries = 0; !existsSync(socket); tries++) {
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

/** Files of `size` bytes of data, filled and locked in memory. Everything lies in `folder`; stop() ends it all. */
export async function startContenders(
  folder: string,
  size: number,
  progress: (what: string) => void,
): Promise<{ readonly contenders: readonly Contender[]; readonly stop: () => Promise<void> }> {
  const undo: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const step of undo.splice(0).reverse()) await step()
  }
  const path = (name: string) => join(folder, name)
  try {
    const key = writeKey(folder)
    const contenders: Contender[] = []
    /** Fills a file through its own server, lays it out, locks it and serves it to those who compare. */
    const prepare = async (name: ContenderName, image: string, start: () => Promise<Server>) => {
      progress(`${name}: filling its file`)
      const filling = await start()
      await fill(filling.socket, size)
      await filling.stop()
      await layOut(image)
      const server = await start()
      undo.push(server.stop)
      undo.push(await lockInMemory(image))
      contenders.push({ name, ...server })
    }

    const ours = async (name: "tresor" | "tresor, transitions", options: readonly string[]) => {
      const volume = name === "tresor" ? "plain" : "modelled"
      const image = path(volume)
      await createVolume(folder, image, size)
      await prepare(name, image, () => openTresor(folder, image, volume, ["--backend", "software", ...options]))
    }
    await ours("tresor", [])
    await ours("tresor, transitions", ["--transition-cycles", String(MODELLED_CYCLES)])

    const nbdkit = (socket: string, ...args: string[]) =>
      serve(socket, "nbdkit", ["--foreground", "--exit-with-parent", "--unix", socket, ...args])
    const unencrypted = path("file")
    reserve(unencrypted, size)
    await prepare("nbdkit file", unencrypted, () => nbdkit(path("file.sock"), "file", unencrypted))

    const luksFile = async (image: string) => {
      reserve(image, size + (4 << 20))
      const format = ["luksFormat", "--batch-mode", "--type", "luks1", "--cipher", "aes-xts-plain64"]
      await run("cryptsetup", [...format, "--key-size", "512", "--pbkdf-force-iterations", "1000", image, key])
      return image
    }
    const nbdkitImage = await luksFile(path("nbdkit-luks"))
    await prepare("nbdkit luks", nbdkitImage, () =>
      nbdkit(path("luks.sock"), "--filter=luks", "file", nbdkitImage, `passphrase=+${key}`),
    )

    const qemuImage = await luksFile(path("qemu-luks"))
    const socket = path("qemu.sock")
    const source = `driver=luks,key-secret=key,file.driver=file,file.filename=${qemuImage}`
    const secret = ["--object", `secret,id=key,file=${key}`]
    const settings = ["--image-opts", source, "--cache=writeback", "--persistent", "--shared=8", `--socket=${socket}`]
    await prepare("qemu-nbd luks", qemuImage, () => serve(socket, "qemu-nbd", [...secret, ...settings]))
    return { contenders, stop }
  } catch (error) {
    await stop().catch(() => {})
    throw error
  }
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

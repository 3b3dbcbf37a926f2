/**
 * The servers compared, each with a backing file of the same size and content:
 * ours, and the peers people would use instead. LUKS1 is what nbdkit and qemu
 * read; the cipher is the same.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { closeSync, existsSync, fsyncSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { NbdClient } from "../src/nbd/client.ts"

const run = promisify(execFile)

export type ContenderName = "tresor" | "tresor, transitions" | "nbdkit file" | "nbdkit luks" | "qemu-nbd luks"

export interface Contender {
  readonly name: ContenderName
  readonly socket: string
  readonly pid: number
  readonly stop: () => Promise<void>
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
): Promise<{ socket: string; pid: number; close: () => Promise<void> }> {
  const tresor = tresorIn(folder)
  const opened = await tresor("open", path, name, "--key-file", join(folder, "key"), "--json", ...options)
  const { socket, pid } = JSON.parse(opened) as { socket: string; pid: number }
  return { socket, pid, close: async () => void (await tresor("close", name)) }
}

/** Random content through the server itself, so that no file has holes and reads decrypt something. */
async function fill(socket: string, size: number): Promise<void> {
  await using client = await NbdClient.connect(socket)
  const chunk = randomBytes(CHUNK)
  for (let at = 0; at < size; at += CHUNK) await client.write(at, chunk)
  await client.flush()
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
async function serve(socket: string, command: string, args: readonly string[]) {
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
  return { socket, pid: child.pid!, stop: () => end(child) }
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
  const add = (server: { socket: string; pid: number; stop: () => Promise<void> }, name: ContenderName): Contender => {
    undo.push(server.stop)
    return { name, ...server }
  }
  try {
    const key = writeKey(folder)
    const ours = async (name: "tresor" | "tresor, transitions", options: readonly string[]) => {
      progress(`${name}: making the volume`)
      const image = path(name === "tresor" ? "ours" : "ours-transitions")
      await createVolume(folder, image, size)
      const { socket, pid, close } = await openTresor(folder, image, name === "tresor" ? "plain" : "modelled", [
        "--backend",
        "software",
        ...options,
      ])
      const contender = add({ socket, pid, stop: close }, name)
      await fill(socket, size)
      undo.push(await lockInMemory(image))
      return contender
    }
    const contenders = [
      await ours("tresor", []),
      await ours("tresor, transitions", ["--transition-cycles", String(MODELLED_CYCLES)]),
    ]

    progress("nbdkit and qemu-nbd: making their files")
    const plain = path("plain")
    const file = openSync(plain, "wx", 0o600)
    const chunk = randomBytes(CHUNK)
    for (let at = 0; at < size; at += CHUNK) writeSync(file, chunk)
    fsyncSync(file)
    closeSync(file)
    undo.push(await lockInMemory(plain))
    const nbdkit = (socket: string, ...args: string[]) =>
      serve(socket, "nbdkit", ["--foreground", "--exit-with-parent", "--unix", socket, ...args])
    contenders.push(add(await nbdkit(path("file.sock"), "file", plain), "nbdkit file"))

    const luksFile = async (name: string) => {
      const image = path(name)
      reserve(image, size + (4 << 20))
      const format = ["luksFormat", "--batch-mode", "--type", "luks1", "--cipher", "aes-xts-plain64"]
      await run("cryptsetup", [...format, "--key-size", "512", "--pbkdf-force-iterations", "1000", image, key])
      return image
    }
    const nbdkitImage = await luksFile("nbdkit-luks")
    const filter = add(
      await nbdkit(path("luks.sock"), "--filter=luks", "file", nbdkitImage, `passphrase=+${key}`),
      "nbdkit luks",
    )
    await fill(filter.socket, size)
    undo.push(await lockInMemory(nbdkitImage))

    const qemuImage = await luksFile("qemu-luks")
    const socket = path("qemu.sock")
    const options = `driver=luks,key-secret=key,file.driver=file,file.filename=${qemuImage}`
    const secret = ["--object", `secret,id=key,file=${key}`]
    const settings = ["--image-opts", options, "--cache=writeback", "--persistent", "--shared=8", `--socket=${socket}`]
    const qemu = add(await serve(socket, "qemu-nbd", [...secret, ...settings]), "qemu-nbd luks")
    await fill(qemu.socket, size)
    undo.push(await lockInMemory(qemuImage))
    return { contenders: [...contenders, filter, qemu], stop }
  } catch (error) {
    await stop().catch(() => {})
    throw error
  }
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

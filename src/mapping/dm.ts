/** dmsetup(8) and losetup(8). Tables go by standard input: arguments are everybody's to read. */
import { spawn } from "node:child_process"
import { existsSync, readFileSync, statSync } from "node:fs"
import { deviceNumber } from "../base/device-number.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { programEnvironment, run, tryRun } from "../base/programs.ts"

async function dmsetup(what: string, args: readonly string[], input = ""): Promise<string> {
  const child = spawn("dmsetup", args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: programEnvironment(),
  })
  const said = { stdout: "", stderr: "" }
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      said[stream] += text
    })
  }
  // It may end without having read.
  child.stdin.on("error", () => {})
  child.stdin.end(input)
  const code = await new Promise<number>((resolve, reject) => {
    child.on("error", () =>
      reject(
        new TresorError(
          "TOOL_MISSING",
          Exit.badArguments,
          `Cannot ${what}: dmsetup is not installed; install the package dmsetup`,
        ),
      ),
    )
    child.on("close", (status) => resolve(status ?? 128))
  })
  if (code === 0) return said.stdout.trim()
  const reason = said.stderr.trim().split("\n")[0] ?? ""
  if (/busy|in use/i.test(reason)) {
    throw new TresorError("MAPPING_IN_USE", Exit.busy, `Cannot ${what}: it is in use; unmount it first`)
  }
  throw new TresorError("DM_FAILED", Exit.wrongDevice, `Cannot ${what}: dmsetup exited with ${code} (${reason})`)
}

export interface Mapping {
  readonly uuid: string
  /** With the key's bytes: of ours, a handle. */
  readonly table: string
  readonly suspended: boolean
}

export async function findMapping(name: string): Promise<Mapping | null> {
  const found = await tryRun("dmsetup", [
    "info",
    "-c",
    "--noheadings",
    "--separator",
    " ",
    "-o",
    "suspended,uuid",
    name,
  ])
  if (found.code !== 0) return null
  const [state = "", uuid = ""] = found.stdout.split(" ")
  return {
    uuid,
    table: await dmsetup(`read the table of /dev/mapper/${name}`, ["table", "--showkeys", name]),
    suspended: state === "Suspended",
  }
}

/** Opens of the device, mounts and mappings over it included. */
export async function openCount(name: string): Promise<number> {
  return Number(await dmsetup(`look at /dev/mapper/${name}`, ["info", "-c", "--noheadings", "-o", "open", name]))
}

export async function createMapping(name: string, uuid: string, table: string, readonly: boolean): Promise<void> {
  const args = ["create", name, "--uuid", uuid, ...(readonly ? ["--readonly"] : [])]
  await dmsetup(`make /dev/mapper/${name}`, args, table)
}

/** Takes effect at the next resume. */
export async function reloadMapping(name: string, table: string, readonly: boolean): Promise<void> {
  await dmsetup(`load a table into /dev/mapper/${name}`, ["reload", name, ...(readonly ? ["--readonly"] : [])], table)
}

/** Waits for I/O in flight and lets new I/O wait. */
export async function suspendMapping(name: string): Promise<void> {
  await dmsetup(`suspend /dev/mapper/${name}`, ["suspend", name])
}

export async function resumeMapping(name: string): Promise<void> {
  await dmsetup(`resume /dev/mapper/${name}`, ["resume", name])
}

/** Makes dm-crypt forget its key, here a handle. Only while suspended. */
export async function wipeMapping(name: string): Promise<void> {
  await dmsetup(`wipe the key of /dev/mapper/${name}`, ["message", name, "0", "key", "wipe"])
}

/** Throws MAPPING_IN_USE (exit 5). */
export async function removeMapping(name: string): Promise<void> {
  // udev may be looking at it still.
  await dmsetup(`remove /dev/mapper/${name}`, ["remove", "--retry", name])
}

export interface BackingDevice {
  /** "major:minor" */
  readonly number: string
  /** Bytes. */
  readonly size: number
  /** Once something else holds a loop device, lets it go with that. */
  readonly release: () => Promise<void>
}

/** A block device with the bytes of `path`: itself, or a loop device on the file. */
export async function openBlockDevice(path: string, readonly: boolean): Promise<BackingDevice> {
  const stat = statSync(path)
  if (stat.isBlockDevice()) {
    const number = deviceNumber(stat.rdev)
    return { number, size: deviceSize(number), release: async () => {} }
  }
  const args = ["--find", "--show", ...(readonly ? ["--read-only"] : []), path]
  const loop = await run(`make a block device of ${path}`, "losetup", args)
  const number = deviceNumber(statSync(loop).rdev)
  return { number, size: deviceSize(number), release: async () => void (await tryRun("losetup", ["--detach", loop])) }
}

function deviceSize(number: string): number {
  return Number(readFileSync(`/sys/dev/block/${number}/size`, "utf8")) * 512
}

/** Bytes, after the file or device below has grown. */
export async function refreshBlockDevice(number: string): Promise<number> {
  if (existsSync(`/sys/dev/block/${number}/loop`)) {
    const name = /^DEVNAME=(.*)$/m.exec(readFileSync(`/sys/dev/block/${number}/uevent`, "utf8"))?.[1] ?? ""
    await run("take over the new size", "losetup", ["--set-capacity", `/dev/${name}`])
  }
  return deviceSize(number)
}

/** Whether a device, by number, shows the bytes of `path`. */
export function isDeviceOf(number: string, path: string): boolean {
  const stat = statSync(path)
  if (stat.isBlockDevice()) return deviceNumber(stat.rdev) === number
  const backing = `/sys/dev/block/${number}/loop/backing_file`
  if (!existsSync(backing)) return false
  const found = statSync(readFileSync(backing, "utf8").replace(/\n$/, ""), { throwIfNoEntry: false })
  return found !== undefined && found.dev === stat.dev && found.ino === stat.ino
}

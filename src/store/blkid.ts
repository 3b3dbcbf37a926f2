/** libblkid's own probe, by blkid(8): what udev, mount and installers will see. */
import { type ChildProcess, spawn } from "node:child_process"

/** Under root's eyes nobody else's PATH decides what is run. */
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
const PATIENCE_MS = 10_000
/** blkid(8), EXIT STATUS. */
const FOUND = 0
const NOTHING = 2
const AMBIVALENT = 8

/** "DEVNAME=…\nTYPE=ext4\n" -> "ext4". */
function nameOf(output: string): string {
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(output)?.[1]
  const type = value("TYPE")
  if (type !== undefined) return type
  const table = value("PTTYPE")
  return table === undefined ? "data that blkid knows" : `a partition table (${table})`
}

/** `null` when no process can be started. */
function start(command: string, args: readonly string[], fd: number): ChildProcess | null {
  try {
    return spawn(command, args, {
      env: { PATH, LC_ALL: "C" },
      stdio: ["ignore", "pipe", "ignore", fd],
    })
  } catch {
    return null
  }
}

/**
 * What blkid finds on the open file `fd`, by name; "nothing"; `null` when
 * there is no blkid or it fails. `luks`: LUKS counts too.
 */
export async function probeByBlkid(
  fd: number,
  { luks }: { readonly luks: boolean },
  command = "blkid",
): Promise<string | "nothing" | null> {
  // The file is the one that is open, wherever its path leads by now.
  const args = ["-p", "-o", "export", ...(luks ? [] : ["-n", "nocrypto_LUKS"]), "/proc/self/fd/3"]
  return new Promise((resolve) => {
    const child = start(command, args, fd)
    if (child === null) return resolve(null)
    let output = ""
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString("latin1")
    })
    // Not spawn's own: it would go on for a program that could not be started.
    const late = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS)
    child.on("error", () => {
      clearTimeout(late)
      resolve(null)
    })
    child.on("close", (code) => {
      clearTimeout(late)
      if (code === FOUND) resolve(nameOf(output))
      else if (code === AMBIVALENT) resolve("more than one format")
      else resolve(code === NOTHING ? "nothing" : null)
    })
  })
}

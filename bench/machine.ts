/** What figures depend on: the machine and the versions of all that was measured. */
import { execFileSync } from "node:child_process"
import { cpus, freemem, release, totalmem } from "node:os"
import { fileURLToPath } from "node:url"

export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly cores: number
  readonly kernel: string
  readonly memoryMib: number
  readonly freeMib: number
  readonly versions: Readonly<Record<string, string>>
}

/** First line a command prints, "missing" where it cannot run. */
function firstLine(command: string, args: readonly string[]): string {
  try {
    const text = execFileSync(command, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      cwd: fileURLToPath(new URL("..", import.meta.url)),
    })
    return text.split("\n", 1)[0]!.trim()
  } catch {
    return "missing"
  }
}

export function describeMachine(): Machine {
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    kernel: release(),
    memoryMib: Math.round(totalmem() / 2 ** 20),
    freeMib: Math.round(freemem() / 2 ** 20),
    versions: {
      tresor: firstLine("git", ["describe", "--always", "--dirty"]),
      node: process.version,
      fio: firstLine("fio", ["--version"]),
      nbdkit: firstLine("nbdkit", ["--version"]),
      "qemu-nbd": firstLine("qemu-nbd", ["--version"]),
      cryptsetup: firstLine("cryptsetup", ["--version"]),
      openssl: firstLine("openssl", ["version"]),
    },
  }
}

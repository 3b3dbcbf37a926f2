/** A tresord as a process that waits for its arguments. Loads next to nothing: launch.ts starts one first of all. */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync, rmSync } from "node:fs"
import type { Socket } from "node:net"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { prepareRoot, runtimeRoot } from "./runtime-root.ts"

export interface DaemonProcess {
  readonly child: ChildProcess
  /** Our end: its arguments go there, its first line says whether it came up. Neither keeps our event loop alive. */
  readonly lifeline: Socket
  /** `null`: it died before it could say anything. */
  readonly firstLine: Promise<string | null>
  /** What it writes to standard error until it has a directory of its own. */
  readonly log: string
}

/** tresord as a program of this build, or of the sources when those run; program first. */
export function daemonCommand(): [string, ...string[]] {
  const here = import.meta.url
  if (here.endsWith(".ts")) return [process.execPath, fileURLToPath(new URL("../tresord/main.ts", here))]
  return [fileURLToPath(new URL("./tresord", here))]
}

/** For a process with another current directory. */
function directories(root: string): NodeJS.ProcessEnv {
  const state = process.env["TRESOR_STATE_DIR"] ?? ""
  return { TRESOR_RUNTIME_DIR: root, ...(state === "" ? {} : { TRESOR_STATE_DIR: resolve(state) }) }
}

/** Throws when there can be no runtime directory. */
export function spawnDaemon(): DaemonProcess {
  const root = runtimeRoot()
  prepareRoot(root)
  const log = join(root, `.log-${process.pid}-${Date.now()}`)
  const fd = openSync(log, "wx", 0o600)
  try {
    const [program, ...words] = daemonCommand()
    const child = spawn(program, [...words, "--lifeline", "--log-file", log], {
      stdio: ["ignore", fd, fd, "pipe"],
      detached: true,
      // The daemon keeps no directory busy.
      cwd: "/",
      env: { ...process.env, ...directories(root) },
    })
    const lifeline = child.stdio[3] as Socket
    child.unref()
    lifeline.unref()
    const firstLine = readFirstLine(child, lifeline)
    // Who never asks for it does not care either.
    firstLine.catch(() => {})
    return { child, lifeline, firstLine, log }
  } catch (error) {
    rmSync(log, { force: true })
    throw error
  } finally {
    closeSync(fd)
  }
}

/**
 * One that takes a volume over from this process, as `--take-over` tells it. It stays when we end; where we are a
 * service's main process it is of the same service. `channel`: the descriptor of its end, which it finds as 4.
 */
export function spawnSuccessor(
  [program, ...words]: readonly string[],
  channel: number,
): Pick<DaemonProcess, "child" | "lifeline" | "firstLine"> {
  const { WATCHDOG_PID: _, ...env } = process.env
  const child = spawn(program!, [...words, "--lifeline", "--take-over"], {
    stdio: ["ignore", "inherit", "inherit", "pipe", channel],
    detached: true,
    cwd: "/",
    env,
  })
  const lifeline = child.stdio[3] as Socket
  return { child, lifeline, firstLine: readFirstLine(child, lifeline) }
}

/** The one launch.ts started, until a command takes it. */
let early: DaemonProcess | null = null

export function keepEarly(daemon: DaemonProcess | null): void {
  early = daemon
}

export function takeDaemon(): DaemonProcess {
  const daemon = early ?? spawnDaemon()
  early = null
  return daemon
}

/** After a command that took none: without arguments, it ends and leaves nothing. */
export function discardEarly(): void {
  if (early === null) return
  early.lifeline.destroy()
  rmSync(early.log, { force: true })
  early = null
}

function readFirstLine(child: ChildProcess, stream: Socket): Promise<string | null> {
  return new Promise((resolve, reject) => {
    let text = ""
    child.once("error", reject)
    stream.setEncoding("utf8")
    stream.on("data", (chunk: string) => {
      text += chunk
      const end = text.indexOf("\n")
      if (end >= 0) resolve(text.slice(0, end))
    })
    stream.on("error", () => stream.destroy())
    // Its exit code is known a moment after its end of the line is gone.
    stream.on("close", () => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(null)
      else child.once("exit", () => resolve(null))
    })
  })
}

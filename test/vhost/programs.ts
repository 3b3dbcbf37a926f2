/** The front-end of bench/vhost, the liars of test/vhost/hostile, and QEMU's back-end. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, rmSync } from "node:fs"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { type Result, root, run, until } from "../cli/harness.ts"

const built = await run("make", ["-s", "-j2", "-C", join(root, "bench/vhost")])
assert.equal(built.code, 0, built.stderr)

export const programOf = (name: "frontend" | "hostile" | "in_use.node"): string => join(root, "build/vhost", name)

export const frontend = (socket: string, options: readonly string[], input?: Uint8Array): Promise<Result> =>
  run(programOf("frontend"), [socket, ...options], input === undefined ? {} : { input })

/** What a run of `mixed` prints. */
export interface Mixed {
  readonly reads: number
  readonly writes: number
  readonly flushes: number
  readonly discards: number
  readonly zeroes: number
  readonly compared: number
  readonly reconnects: number
}

/** Mixed requests, all of which are checked, until `end`. */
export class EndlessLoad {
  readonly #child: ChildProcess
  readonly #ended: Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>

  constructor(socket: string, options: readonly string[]) {
    const words = [socket, ...options, "--count=1000000000", "mixed"]
    this.#child = spawn(programOf("frontend"), words, { stdio: ["ignore", "pipe", "pipe"] })
    const [stdout, stderr] = [text(this.#child.stdout!), text(this.#child.stderr!)]
    this.#ended = once(this.#child, "close").then(async ([code]) => ({
      code,
      stdout: await stdout,
      stderr: await stderr,
    }))
  }

  get pid(): number {
    return this.#child.pid!
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves with what it did, once all that it ever wrote was read back. */
  async end(): Promise<Mixed> {
    this.#child.kill("SIGTERM")
    const { code, stdout, stderr } = await this.#ended
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as Mixed
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL")
  }
}

/** qemu-storage-daemon with one export of a node, which `blockdev` describes. Ends with stop(). */
export async function serveByQemu(socket: string, blockdev: string): Promise<() => Promise<void>> {
  const child = spawn(
    "qemu-storage-daemon",
    [
      "--blockdev",
      `${blockdev},node-name=node`,
      "--export",
      `type=vhost-user-blk,id=export,node-name=node,addr.type=unix,addr.path=${socket},writable=on,num-queues=2`,
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  )
  const ended = new Promise((resolve) => child.once("exit", resolve).once("error", resolve))
  await until("qemu-storage-daemon serves", () => existsSync(socket))
  return async () => {
    child.kill("SIGTERM")
    await ended
    rmSync(socket, { force: true })
  }
}

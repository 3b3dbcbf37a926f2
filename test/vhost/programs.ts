/** The front-end of bench/vhost, the liars of test/vhost/hostile, and QEMU's back-end. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { existsSync, rmSync } from "node:fs"
import { join } from "node:path"
import { type Result, root, run, until } from "../cli/harness.ts"

const built = await run("make", ["-s", "-j2", "-C", join(root, "bench/vhost")])
assert.equal(built.code, 0, built.stderr)

export const programOf = (name: "frontend" | "hostile"): string => join(root, "build/vhost", name)

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

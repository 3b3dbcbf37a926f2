/** The program of addon/test/disk, built twice. */
import assert from "node:assert/strict"
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after } from "node:test"
import { type Result, root, run } from "../cli/harness.ts"

export type Kind = "asan" | "tsan"
export const KINDS: readonly Kind[] = ["asan", "tsan"]

const built = await run("make", ["-s", "-j2", "-C", join(root, "addon"), "disk-tests"])
assert.equal(built.code, 0, built.stderr)

export const programOf = (kind: Kind): string => join(root, "build/disk", kind, "disk_test")

/** They end at the first report. Threads of queues that never end are left on purpose. */
export const sanitized: NodeJS.ProcessEnv = {
  ASAN_OPTIONS: "abort_on_error=1",
  UBSAN_OPTIONS: "print_stacktrace=1",
  TSAN_OPTIONS: "halt_on_error=1:report_thread_leaks=0",
}

export async function succeeds(command: string, ...args: string[]): Promise<Result> {
  const done = await run(command, args)
  assert.equal(done.code, 0, `${command} ${args.join(" ")}: ${done.stdout}${done.stderr}`)
  return done
}

/** Removed at the end. */
export function newFolder(parent = tmpdir()): string {
  const folder = mkdtempSync(join(parent, "tresor-disk-"))
  after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** In memory, where the kernel has O_DIRECT there (Linux 6.6), else on the disk. */
export function newMemoryFolder(): string {
  const folder = newFolder("/dev/shm")
  try {
    closeSync(openSync(join(folder, "probe"), constants.O_CREAT | constants.O_RDWR | constants.O_DIRECT))
    return folder
  } catch {
    return newFolder()
  }
}

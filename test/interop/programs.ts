/** Tresor and cryptsetup on the same volumes: commands that must succeed, and commands that are cut off. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { readFileSync, rmSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { type Place, run } from "../cli/harness.ts"

/** The cheapest KDF that both take. */
export const CHEAP = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"] as const

async function successOf(program: string, args: readonly string[], ran: ReturnType<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await ran
  assert.equal(code, 0, `${program} ${args.join(" ")}: ${stderr}`)
  return stdout
}

/**
 * Runs a command and sends the signal when `ready` says so. False: it had ended by itself. Throws when it failed before
 * the signal.
 */
async function cutOff(
  [program, ...args]: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv,
  signal: NodeJS.Signals,
  ready: () => Promise<boolean>,
): Promise<boolean> {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: "pipe", detached: true })
  let said = ""
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk
  })
  child.stdout.resume()
  let over = false
  const ended = new Promise<number | null>((resolve) =>
    child.on("close", (code) => {
      over = true
      resolve(code)
    }),
  )
  while (!over && !(await ready())) await delay(2)
  const sent = !over
  // The whole group: a checkout's ./tresor is a shell.
  if (sent) process.kill(-child.pid!, signal)
  const code = await ended
  if (!sent && code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${said}`)
  return code !== 0
}

/** `keyFile` has a passphrase of each volume. */
export function programs(place: Place, keyFile: string) {
  /** What was printed. */
  const ours = (...args: string[]) => successOf("tresor", args, place.tresor(args))
  const stock = (...args: string[]) => successOf("cryptsetup", args, run("cryptsetup", args))
  /** As cryptsetup prints it; `path`: where the header is. */
  const volumeKey = async (path: string): Promise<Buffer> => {
    const file = place.path("volume-key")
    rmSync(file, { force: true })
    await stock("luksDump", "-q", "--dump-volume-key", "--volume-key-file", file, "--key-file", keyFile, path)
    return readFileSync(file)
  }
  const cut = (
    command: readonly [string, ...string[]],
    signal: NodeJS.Signals,
    ready: () => Promise<boolean>,
  ): Promise<boolean> => cutOff(command, place.env, signal, ready)
  /** cryptsetup finds nothing to complain about; `path`: where the header is. */
  const checkSound = async (path: string): Promise<void> => {
    for (const args of [
      ["luksDump", path],
      ["open", "--test-passphrase", "--key-file", keyFile, path],
    ]) {
      const { code, stderr } = await run("cryptsetup", args)
      assert.deepEqual([code, stderr], [0, ""], args.join(" "))
    }
  }
  return { ours, stock, volumeKey, cut, checkSound }
}

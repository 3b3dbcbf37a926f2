/** Tresor and cryptsetup on the same volumes: commands that must succeed. */
import assert from "node:assert/strict"
import { readFileSync, rmSync } from "node:fs"
import { type Place, run } from "../cli/harness.ts"

/** The cheapest KDF that both take. */
export const CHEAP = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"] as const

async function successOf(program: string, args: readonly string[], ran: ReturnType<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await ran
  assert.equal(code, 0, `${program} ${args.join(" ")}: ${stderr}`)
  return stdout
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
  return { ours, stock, volumeKey }
}

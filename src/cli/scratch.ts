/** Volumes that are gone afterwards: state, sockets and images in folders of their own. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { abandonDaemons, closeVolume } from "../control/daemon.ts"
import { liveNames } from "../control/runtime.ts"
import { runtimeRoot } from "../control/runtime-root.ts"

/** Runs `story` in folders of its own, and removes all of it however that ends, Ctrl-C included. */
export async function inScratchFolders(
  purpose: string,
  story: (folder: string) => Promise<void>,
  parent = tmpdir(),
): Promise<void> {
  const folder = mkdtempSync(join(parent, `tresor-${purpose}-`))
  const saved = { ...process.env }
  for (const [variable, name] of [
    ["TRESOR_RUNTIME_DIR", "run"],
    ["TRESOR_STATE_DIR", "state"],
    ["XDG_CONFIG_HOME", "config"],
  ] as const) {
    process.env[variable] = join(folder, name)
    mkdirSync(join(folder, name), { mode: 0o700 })
  }
  let cleaning: Promise<void> | null = null
  const clean = () => {
    cleaning ??= (async () => {
      try {
        // One that is just starting would make its folders again.
        await abandonDaemons()
        for (const name of liveNames(runtimeRoot())) await closeVolume(name)
      } finally {
        rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
        Object.assign(process.env, saved)
      }
    })()
    return cleaning
  }
  const interrupted = (code: number) => () =>
    void clean().finally(() => {
      // What the story did until now.
      process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
      process.exit(code)
    })
  const handlers = { SIGINT: interrupted(130), SIGTERM: interrupted(143), SIGHUP: interrupted(129) }
  for (const [signal, handler] of Object.entries(handlers)) process.once(signal, handler)
  try {
    await story(folder)
  } catch (error) {
    // The volume was taken from under the story: the signal's handler has the last word.
    if (cleaning === null) throw error
    await new Promise(() => {})
  } finally {
    for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler)
    await clean()
  }
}

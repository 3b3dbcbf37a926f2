/**
 * dist/tresor.cjs. For the commands that need a tresord it starts one before the
 * command line is even loaded, so that both Nodes start side by side.
 */
import { fileURLToPath } from "node:url"
import { runBundle } from "../base/bundle.ts"
import { type DaemonProcess, spawnDaemon } from "../control/daemon-process.ts"
import { startHardened } from "../native/hardening.ts"

function early(words: readonly string[]): DaemonProcess | null {
  const [command, ...rest] = words
  const opens = command === "open" || command === "luksOpen" || command === "mount"
  if (!opens || rest.length < 2 || rest.some((word) => /^(-h|--help|--test-passphrase)$/.test(word))) return null
  try {
    return spawnDaemon()
  } catch {
    // The command will find the same and say it.
    return null
  }
}

startHardened("tresor")
const words = process.argv.slice(2)
const daemon = early(words)
const { main } = runBundle(fileURLToPath(import.meta.url)) as typeof import("./main.ts")
main(words, daemon)

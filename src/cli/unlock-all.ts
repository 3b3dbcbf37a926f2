/** `setkey --all`: every locked volume of this user. One passphrase is asked for at a time, and tried on all that wait. */
import { connectVolume } from "../control/daemon.ts"
import { liveNames } from "../control/runtime.ts"
import { runtimeRoot } from "../control/runtime-root.ts"
import type { VolumeClient } from "../control/volume-client.ts"
import { mayBeMistyped, NO_KEY, tell } from "./messages.ts"
import { err } from "./output/output.ts"
import { isInteractive, readSecret, withSecret } from "./secrets.ts"
import { awaitKey, type UnlockWords, type WaitingVolume } from "./unlock.ts"

interface Waiting extends WaitingVolume {
  readonly name: string
}

/** What failed last is thrown in the end; what failed before is said. */
class Failures {
  #last: unknown = null

  add(error: unknown): void {
    if (this.#last !== null) err.line(tell(this.#last).line)
    this.#last = error
  }

  raise(): void {
    if (this.#last !== null) throw this.#last
  }
}

async function waitingVolumes(
  options: UnlockWords,
  failures: Failures,
  clients: VolumeClient[],
): Promise<readonly Waiting[]> {
  const found: Waiting[] = []
  for (const name of liveNames(runtimeRoot())) {
    try {
      const client = await connectVolume(name)
      clients.push(client)
      const { state } = await client.status()
      if (state === "locked" || state === "failed") found.push({ name, ...(await awaitKey(client, options)) })
    } catch (error) {
      failures.add(error)
    }
  }
  return found
}

/** Those that it does not open. */
async function tryOn(waiting: readonly Waiting[], passphrase: Uint8Array, failures: Failures) {
  const left: Waiting[] = []
  let wrong: unknown = null
  for (const volume of waiting) {
    try {
      await volume.unlock(passphrase)
    } catch (error) {
      if (mayBeMistyped(error)) {
        left.push(volume)
        wrong = error
      } else failures.add(error)
    }
  }
  return { left, wrong }
}

/** A passphrase that opens some of them is no wrong attempt: the others have another one, which is asked for. */
export async function unlockAll(options: UnlockWords): Promise<void> {
  const failures = new Failures()
  const clients: VolumeClient[] = []
  try {
    let waiting = await waitingVolumes(options, failures, clients)
    const tries = isInteractive(options) ? options.tries : 1
    for (let n = 1; waiting.length > 0; n++) {
      const prompt = `Enter passphrase for ${waiting.map(({ name }) => name).join(", ")}`
      const how = { verify: options.verifyPassphrase === true, again: n > 1 }
      const asked = waiting
      const { left, wrong } = await withSecret(readSecret(prompt, options, how), (passphrase) =>
        tryOn(asked, passphrase, failures),
      )
      if (left.length < waiting.length) n = 0
      waiting = left
      if (waiting.length === 0) break
      if (n >= tries || !isInteractive(options)) {
        failures.add(wrong)
        break
      }
      if (n > 0) err.line(NO_KEY)
    }
  } finally {
    for (const client of clients) client[Symbol.dispose]()
  }
  failures.raise()
}

/** The passphrase for a volume that waits, here or on another machine. */
import { pipeline } from "node:stream/promises"
import { Exit, TresorError } from "../../base/errors.ts"
import { connectTresord, connectVolume } from "../../control/daemon.ts"
import { notOpen } from "../../control/find.ts"
import { withRemote } from "../../control/remote.ts"
import { checkName } from "../../control/runtime.ts"
import { type AllOption, checkOne } from "../every.ts"
import { err } from "../output/output.ts"
import { type UnlockWords, unlockVolume } from "../unlock.ts"

interface SetkeyOptions extends UnlockWords, AllOption {
  readonly remote?: string
  readonly rsh: string
  readonly remoteTresor: string
}

export async function setkey(name: string | undefined, options: SetkeyOptions): Promise<void> {
  checkOne("setkey", name, options)
  if (name === undefined) {
    const excluded = options.remote !== undefined ? "--remote" : options.legacy === true ? "--legacy" : null
    if (excluded !== null) {
      throw new TresorError("USAGE", Exit.badArguments, `Cannot setkey: --all and ${excluded} exclude each other`)
    }
    const { unlockAll } = await import("../unlock-all.ts")
    return unlockAll(options)
  }
  checkName(name)
  const { remote: host, rsh, remoteTresor: tresor } = options
  if (host === undefined) {
    using client = await connectVolume(name)
    if (options.passwordAgent === true && options.keyFile === undefined && options.legacy !== true)
      await whileLocked(name, (signal) => unlockVolume(client, { ...options, signal }))
    else await unlockVolume(client, options)
    return
  }
  const said = (text: string) => err.text(text.replaceAll("\r\n", "\n"))
  await withRemote(name, { host, rsh, tresor, said }, (client) => unlockVolume(client, options, { host }))
}

/**
 * `ask` is told when its question is idle: somebody unlocked the volume from a terminal or another machine, which is as
 * good as an answer, or it was closed, which rejects.
 */
async function whileLocked(name: string, ask: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  using watched = await connectVolume(name)
  const idle = new AbortController()
  let ended: unknown = null
  const watching = (async () => {
    for await (const { state } of watched.watch()) if (state === "unlocked") return
    throw notOpen(name)
  })()
  watching
    .catch((error: unknown) => {
      ended = error
    })
    .finally(() => idle.abort())
  try {
    await ask(idle.signal)
  } catch (error) {
    if (!idle.signal.aborted) throw error
    if (ended !== null) throw ended
  }
}

/** The far end of --remote: bytes only, nothing of them is looked at. */
export async function bridge(name: string): Promise<void> {
  const socket = await connectTresord(name, { halfOpen: true })
  await Promise.all([pipeline(process.stdin, socket), pipeline(socket, process.stdout)])
}

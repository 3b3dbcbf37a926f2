/** `tresor reencrypt` of an open volume: begun here, done by its tresord beside the volume's requests. */
import { setTimeout as delay } from "node:timers/promises"
import { TrustedEnclave } from "../../attest/trusted-enclave.ts"
import { Exit, TresorError } from "../../base/errors.ts"
import { formatSize } from "../../base/size.ts"
import { connectVolume } from "../../control/daemon.ts"
import { askVolume, type FirstContact } from "../../control/enclave.ts"
import { enterWith } from "../../control/unlock.ts"
import type { VolumeStatus } from "../../control/volume.ts"
import type { VolumeClient } from "../../control/volume-client.ts"
import { proveKeyslot } from "../../keyslots/prove.ts"
import { isPending, OPEN_HOT_ZONE, withOpenReencryption } from "../../library/reencrypt.ts"
import { nonePending } from "../../reencrypt/run.ts"
import { warn, withExisting } from "../keeper.ts"
import { out } from "../output/output.ts"
import { rateBar } from "../progress.ts"
import { atTerminal } from "../trust.ts"
import { withPassphrase } from "../unlock.ts"
import { begin, checkResumable, paused, type ReencryptOptions } from "./reencrypt-closed.ts"

/** Between looks how far it is. */
const LOOK_MS = 500

/** Where its header lies, when that is apart from the data. */
function headerOf({ path, opened }: VolumeStatus, given: string | undefined): string | undefined {
  return given ?? opened.find((each) => each.path !== path)?.path
}

async function goOn(
  client: VolumeClient,
  { status, enclave }: FirstContact,
  options: ReencryptOptions,
  secret: Uint8Array,
): Promise<void> {
  const trusted = await TrustedEnclave.assess(enclave, { policy: options.policy, startedHere: false }, atTerminal())
  await enterWith({ client, enclave: trusted, status }, secret, {
    goOn: {
      hotZone: options.hotzoneSize === undefined ? OPEN_HOT_ZONE : Number(options.hotzoneSize),
      throttle: (options.throttle ?? 0) * 1_000_000,
    },
    vouched: options.authenticate === true,
    unsealed: true,
  })
}

/** Until it ends. A signal pauses it; the end of this process does not. */
async function follow(client: VolumeClient, name: string, options: ReencryptOptions): Promise<void> {
  let stopping = false
  const stop = () => {
    stopping = true
  }
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
  for (const signal of signals) process.on(signal, stop)
  try {
    let { reencryption } = await client.status()
    const first = reencryption?.done ?? 0
    using bar = rateBar("Reencrypting", {
      total: reencryption?.total ?? 0,
      first,
      everySeconds: options.progressFrequency ?? null,
    })
    while (reencryption?.state === "running") {
      bar.update(reencryption.done)
      if (stopping) {
        reencryption = (await client.call("Pause")).volume.reencryption
        break
      }
      await delay(LOOK_MS)
      reencryption = (await client.status()).reencryption
    }
    bar.stop()
    if (reencryption === null) {
      out.line(`All data of ${name} are under the new volume key.`)
      return
    }
    if (reencryption.state === "stopped") throw stopped(name, reencryption.error ?? "")
    throw paused(name, reencryption)
  } finally {
    for (const signal of signals) process.off(signal, stop)
  }
}

function stopped(name: string, reason: string): TresorError {
  return new TresorError(
    "REENCRYPT_STOPPED",
    Exit.wrongDevice,
    `The reencryption of ${name} stopped: ${reason}; nothing is lost, requests on the zone that it was at end in errors, and ` +
      `when the device works again \`tresor reencrypt --resume ${name}\` goes on`,
  )
}

/** Throws REENCRYPT_UNFIT (exit 4) before anything is written. */
function checkChangeable({ name, export: way, readonly }: VolumeStatus): void {
  const fact =
    way === "kernel" ? "the kernel reads and writes its ciphertext" : readonly ? "it is open read-only" : null
  if (fact === null) return
  throw new TresorError(
    "REENCRYPT_UNFIT",
    Exit.wrongDevice,
    `Cannot reencrypt ${name} while it is open: ${fact}; close it first`,
  )
}

function noneToPause(name: string): TresorError {
  return new TresorError(
    "REENCRYPT_NONE",
    Exit.badArguments,
    `Cannot pause ${name}: no reencryption is pending; \`tresor status ${name}\` shows one that is`,
  )
}

export async function reencryptOpen(name: string, options: ReencryptOptions): Promise<void> {
  using client = await connectVolume(name)
  if (options.pause === true) {
    const { reencryption } = (await client.call("Pause")).volume
    if (reencryption === null) throw noneToPause(name)
    const { done, total } = reencryption
    out.line(
      `The reencryption of ${name} is paused: ${formatSize(done)} of ${formatSize(total)} are under the new key.`,
    )
    return
  }
  const contact = await askVolume(client)
  const { status } = contact
  checkChangeable(status)
  const place = { path: status.path, header: headerOf(status, options.header) }
  const begun = await withOpenReencryption(place, options, { ...atTerminal(), warn }, async (volume) => {
    if (isPending(volume.store.header)) {
      checkResumable(name, options)
      return false
    }
    if (options.resume === true || options.authenticate === true) throw nonePending(name)
    const prompt = `Enter any existing passphrase for ${status.path}`
    await withExisting(volume, options, prompt, async ({ secret, slot }) => {
      const proved = slot ?? (await proveKeyslot(volume, { secret, slot: null }))
      await begin(volume, options, secret, proved)
      await goOn(client, contact, options, secret)
    })
    return true
  })
  if (!begun) {
    const prompt = `Enter passphrase for ${status.path}`
    await withPassphrase(prompt, options, (secret) => goOn(client, contact, options, secret))
  }
  await follow(client, name, options)
}

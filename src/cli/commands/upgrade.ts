/** An open volume goes to the tresord of this version; nobody who uses it notices. */
import { connectVolume } from "../../control/daemon.ts"
import { daemonCommand } from "../../control/daemon-process.ts"
import type { VolumeClient } from "../../control/volume-client.ts"
import { type AllOption, forEach } from "../every.ts"
import { out } from "../output/output.ts"
import type { SecretSource } from "../secrets.ts"

interface UpgradeOptions extends SecretSource, AllOption {
  /** Asks for a passphrase, with which the enclave of this version is approved. */
  readonly approve?: true
  readonly tries: number
  readonly keySlot?: number
  readonly policy?: string
}

export function upgrade(name: string | undefined, options: UpgradeOptions): Promise<void> {
  return forEach("upgrade", name, options, (each) => upgradeOne(each, options))
}

async function upgradeOne(name: string, options: UpgradeOptions): Promise<void> {
  using client = await connectVolume(name)
  if (options.approve === true) await approve(client, options)
  const { pid, version, mrenclave } = await client.call("Upgrade", { program: daemonCommand() })
  out.line(`${name} is served by tresord ${version} now (process ${pid}, MRENCLAVE ${mrenclave.slice(0, 16)}…).`)
}

async function approve(client: VolumeClient, options: UpgradeOptions): Promise<void> {
  const [
    { approveWith },
    { withPassphrase, keptHere },
    { installedEnclave },
    { askVolume },
    { TrustedEnclave },
    { atTerminal },
  ] = await Promise.all([
    import("../../control/unlock.ts"),
    import("../unlock.ts"),
    import("../version.ts"),
    import("../../control/enclave.ts"),
    import("../../attest/trusted-enclave.ts"),
    import("../trust.ts"),
  ])
  const { status, enclave: running } = await askVolume(client)
  const world = { ...atTerminal(), ...(await keptHere(status.enclave)) }
  // The enclave that runs may be of another version than this command.
  const trust = { policy: options.policy, startedHere: false, predecessor: true }
  const enclave = await TrustedEnclave.assess(running, trust, world)
  const request = { keySlot: options.keySlot ?? null, successor: installedEnclave() }
  await withPassphrase(`Enter passphrase for ${status.path}`, options, (passphrase) =>
    approveWith({ client, enclave, status }, passphrase, request),
  )
}

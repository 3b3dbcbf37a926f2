import { TresorError } from "../../base/errors.ts"
import { connectVolume } from "../../control/daemon.ts"

const NO_PROCESS: readonly string[] = ["NOT_OPEN", "VOLUME_DEAD"]

/** `ifOpen`: a volume without a process holds no keys, which is all that was asked for. */
export async function lock(name: string, { ifOpen = false }: { readonly ifOpen?: boolean } = {}): Promise<void> {
  try {
    using volume = await connectVolume(name, { others: true })
    await volume.call("Lock")
  } catch (error) {
    if (!ifOpen || !(error instanceof TresorError) || !NO_PROCESS.includes(error.code)) throw error
  }
}

import { TresorError } from "../../base/errors.ts"
import { connectVolume } from "../../control/daemon.ts"
import { type AllOption, forEach } from "../every.ts"

const NO_PROCESS: readonly string[] = ["NOT_OPEN", "VOLUME_DEAD"]

interface LockOptions extends AllOption {
  /** A volume without a process holds no keys, which is all that was asked for. */
  readonly ifOpen?: true
}

export function lock(name: string | undefined, options: LockOptions): Promise<void> {
  return forEach("lock", name, options, (each) => lockOne(each, options.ifOpen === true || options.all === true))
}

async function lockOne(name: string, ifOpen: boolean): Promise<void> {
  try {
    using volume = await connectVolume(name, { others: true })
    await volume.call("Lock")
  } catch (error) {
    if (!ifOpen || !(error instanceof TresorError) || !NO_PROCESS.includes(error.code)) throw error
  }
}

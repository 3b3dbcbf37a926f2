/** The passphrase for a volume that waits, here or on another machine. */
import { spawn } from "node:child_process"
import { Duplex } from "node:stream"
import { pipeline } from "node:stream/promises"
import { Exit, TresorError } from "../../base/errors.ts"
import { ControlClient } from "../../control/client.ts"
import { connectTresord, connectVolume } from "../../control/daemon.ts"
import { checkName } from "../../control/runtime.ts"
import { VolumeClient } from "../../control/volume-client.ts"
import { err } from "../output/output.ts"
import { type UnlockOptions, unlockVolume } from "../unlock.ts"

interface SetkeyOptions extends UnlockOptions {
  readonly remote?: string
  readonly rsh: string
  readonly remoteTresor: string
}

export async function setkey(name: string, options: SetkeyOptions): Promise<void> {
  checkName(name)
  if (options.remote === undefined) {
    using client = await connectVolume(name)
    await unlockVolume(client, options)
    return
  }
  if (options.remote.startsWith("-")) {
    throw new TresorError(
      "REMOTE_INVALID",
      Exit.badArguments,
      `Cannot reach ${options.remote}: a host's name does not begin with a dash`,
    )
  }
  const [command = "ssh", ...words] = options.rsh.split(" ").filter((word) => word !== "")
  // ssh asks for its own password on the terminal. What the other side says is text of others.
  const child = spawn(command, [...words, options.remote, `${options.remoteTresor} bridge ${name}`], {
    stdio: ["pipe", "pipe", "pipe"],
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => err.text(text.replaceAll("\r\n", "\n")))
  const failed = new Promise<never>((_, reject) => {
    child.once("error", () =>
      reject(
        new TresorError(
          "REMOTE_FAILED",
          Exit.wrongDevice,
          `Cannot reach ${options.remote}: ${command} is not installed`,
        ),
      ),
    )
  })
  using client = new VolumeClient(
    new ControlClient(Duplex.from({ readable: child.stdout, writable: child.stdin })),
    `${name} on ${options.remote}`,
  )
  await Promise.race([failed, unlockVolume(client, options, { host: options.remote })])
}

/** The far end of --remote: bytes only, nothing of them is looked at. */
export async function bridge(name: string): Promise<void> {
  const socket = await connectTresord(name, { halfOpen: true })
  await Promise.all([pipeline(process.stdin, socket), pipeline(socket, process.stdout)])
}

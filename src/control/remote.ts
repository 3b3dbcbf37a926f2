/** A tresord of another machine, through a program like ssh. */
import { spawn } from "node:child_process"
import { Duplex } from "node:stream"
import { Exit, TresorError } from "../base/errors.ts"
import { searchPath } from "../base/programs.ts"
import { ControlClient } from "./client.ts"
import { checkName } from "./runtime.ts"
import { VolumeClient } from "./volume-client.ts"

export interface RemoteOptions {
  /** user@host, as ssh takes it. */
  readonly host: string
  /** The program and its options, split at spaces; "ssh" asks for its own password on the terminal. */
  readonly rsh: string
  /** tresor's command on that machine. */
  readonly tresor: string
  /** What the other side says on its standard error: text of others. */
  readonly said: (text: string) => void
}

function failed(host: string, fact: string): TresorError {
  return new TresorError("REMOTE_FAILED", Exit.wrongDevice, `Cannot reach ${host}: ${fact}`)
}

/**
 * Runs `work` with a client of the volume `name` on another machine. Throws REMOTE_INVALID (exit 1), REMOTE_FAILED
 * (exit 4) when the program is not installed.
 */
export async function withRemote<T>(
  name: string,
  { host, rsh, tresor, said }: RemoteOptions,
  work: (client: VolumeClient) => Promise<T>,
): Promise<T> {
  checkName(name)
  if (host.startsWith("-")) {
    throw new TresorError(
      "REMOTE_INVALID",
      Exit.badArguments,
      `Cannot reach ${host}: a host name cannot begin with a dash`,
    )
  }
  const [command = "ssh", ...words] = rsh.split(" ").filter((word) => word !== "")
  const child = spawn(command, [...words, host, `${tresor} bridge ${name}`], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, PATH: searchPath() },
  })
  child.stderr.setEncoding("utf8").on("data", said)
  const missing = new Promise<never>((_, reject) => {
    child.once("error", () => reject(failed(host, `${command} is not installed`)))
  })
  using client = new VolumeClient(
    new ControlClient(Duplex.from({ readable: child.stdout, writable: child.stdin })),
    `${name} on ${host}`,
  )
  return await Promise.race([missing, work(client)])
}

/** Asks a tresord: typed calls, answers checked, refusals as TresorError. */
import * as v from "valibot"
import { Exit, TresorError } from "../base/errors.ts"
import type { ControlClient } from "./client.ts"
import { FramingError, type Parameters, VarlinkError } from "./varlink.ts"
import {
  refusedSchema,
  VOLUME_INTERFACE,
  type VolumeMethod,
  type VolumeOutput,
  type VolumeStatus,
  volumeMethods,
  volumeSchema,
} from "./volume.ts"

function fromError(error: unknown, name: string): Error {
  if (error instanceof VarlinkError) {
    const refused = v.safeParse(refusedSchema, error.parameters)
    if (error.error === `${VOLUME_INTERFACE}.Refused` && refused.success) {
      const { code, exitCode, message } = refused.output
      return new TresorError(code, exitCode, message)
    }
    if (error.error === "org.varlink.service.PermissionDenied") {
      return new TresorError(
        "CONTROL_DENIED",
        Exit.denied,
        `Cannot talk to ${name}: it belongs to another user; use sudo`,
      )
    }
    return new TresorError(
      "CONTROL_PROTOCOL",
      Exit.wrongDevice,
      `Cannot talk to ${name}: it answers ${error.error}; its tresord may be of another version`,
    )
  }
  if (error instanceof FramingError || error instanceof v.ValiError) {
    return new TresorError(
      "CONTROL_LOST",
      Exit.wrongDevice,
      `Lost the connection to ${name}: ${error.message}; see \`tresor status ${name}\``,
    )
  }
  return error as Error
}

export class VolumeClient implements Disposable {
  readonly #client: ControlClient
  readonly #name: string

  constructor(client: ControlClient, name: string) {
    this.#client = client
    this.#name = name
  }

  async call<M extends VolumeMethod>(method: M, input: Parameters = {}): Promise<VolumeOutput<M>> {
    try {
      const reply = await this.#client.call(`${VOLUME_INTERFACE}.${method}`, input)
      return v.parse(volumeMethods[method].output, reply) as VolumeOutput<M>
    } catch (error) {
      throw fromError(error, this.#name)
    }
  }

  async status(): Promise<VolumeStatus> {
    return (await this.call("Status")).volume
  }

  /** The status now and after each change of state, until the daemon ends. */
  async *watch(): AsyncGenerator<VolumeStatus, void> {
    try {
      for await (const reply of this.#client.stream(`${VOLUME_INTERFACE}.Status`)) {
        yield v.parse(v.object({ volume: volumeSchema }), reply).volume
      }
    } catch (error) {
      throw fromError(error, this.#name)
    }
  }

  [Symbol.dispose](): void {
    this.#client.close()
  }
}

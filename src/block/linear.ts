/**
 * A dm-linear mapping over the ublk device, where that one cannot change its size (before Linux 6.16): a larger device
 * takes its place below. /dev/mapper/NAME.
 */
import { statSync } from "node:fs"
import { deviceNumber } from "../base/device-number.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { has } from "../base/programs.ts"
import {
  createMapping,
  findMapping,
  openCount,
  reloadMapping,
  removeMapping,
  resumeMapping,
  suspendMapping,
} from "../mapping/dm.ts"

/** dmsetup(8) is there. */
export const hasLinear = (): boolean => has("dmsetup")

const uuidOf = (volume: string, name: string): string => `TRESOR-BLOCK-${volume.replaceAll("-", "")}-${name}`

const numberOf = (device: string): string => deviceNumber(statSync(device).rdev)

function tableOf(device: string, size: number): string {
  return `0 ${size / 512} linear ${numberOf(device)} 0`
}

export class Linear {
  readonly #name: string
  readonly #readOnly: boolean

  private constructor(name: string, readOnly: boolean) {
    this.#name = name
    this.#readOnly = readOnly
  }

  get path(): string {
    return `/dev/mapper/${this.#name}`
  }

  /** What a killed tresord left; `null`: nothing. Throws MAPPING_EXISTS (exit 5) when the name is something else's. */
  static async find(
    volume: string,
    name: string,
    readOnly: boolean,
  ): Promise<{ readonly linear: Linear; readonly below: (device: string) => boolean } | null> {
    const found = await findMapping(name)
    if (found === null) return null
    const [, , target, number] = found.table.split(" ")
    if (found.uuid !== uuidOf(volume, name) || target !== "linear") {
      throw new TresorError(
        "MAPPING_EXISTS",
        Exit.busy,
        `Cannot open as ${name}: /dev/mapper/${name} exists and belongs to something else; choose another name`,
      )
    }
    return { linear: new Linear(name, readOnly), below: (device) => numberOf(device) === number }
  }

  static async create(volume: string, name: string, device: string, size: number, readOnly: boolean): Promise<Linear> {
    await createMapping(name, uuidOf(volume, name), tableOf(device, size), readOnly)
    return new Linear(name, readOnly)
  }

  /** Requests under way end on the device before; those that come meanwhile wait. */
  async swap(device: string, size: number): Promise<void> {
    await suspendMapping(this.#name)
    try {
      await reloadMapping(this.#name, tableOf(device, size), this.#readOnly)
    } finally {
      await resumeMapping(this.#name)
    }
  }

  /** As before a suspend that a tresord did not live to end. */
  resume(): Promise<void> {
    return resumeMapping(this.#name)
  }

  /** How many have it open. */
  users(): Promise<number> {
    return openCount(this.#name)
  }

  /** Throws MAPPING_IN_USE (exit 5). */
  remove(): Promise<void> {
    return removeMapping(this.#name)
  }
}

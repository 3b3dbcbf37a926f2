/**
 * Headers of volumes on other machines, seen before: known-volumes beside
 * known-enclaves. One volume a line, blank lines and # comments stay:
 *
 *   <host> <uuid> <SHA-256 of the header's public parameters>
 *
 * The host says what its volume's header is, and could say one whose keyslots it
 * made itself, cheap to guess. It can do so at the first contact only.
 */
import { join } from "node:path"
import { Exit, TresorError } from "../base/errors.ts"
import { changeList, configDir, readList } from "./config-file.ts"

export interface KnownVolume {
  /** From 1. */
  readonly line: number
  readonly host: string
  readonly uuid: string
  readonly digest: string
}

export const knownVolumesPath = (): string => join(configDir(), "known-volumes")

/** Throws KNOWN_VOLUMES_BAD (exit 2) naming the line. */
function parseKnownVolumes(text: string, path: string): KnownVolume[] {
  return text.split("\n").flatMap((content, index) => {
    const entry = content.trim()
    if (entry === "" || entry.startsWith("#")) return []
    const match = /^(\S+)\s+(\S{1,39})\s+([0-9a-f]{64})$/.exec(entry)
    if (match === null) {
      throw new TresorError(
        "KNOWN_VOLUMES_BAD",
        Exit.denied,
        `Cannot use ${path}: line ${index + 1} is damaged; correct or remove it`,
      )
    }
    return [{ line: index + 1, host: match[1]!, uuid: match[2]!, digest: match[3]! }]
  })
}

/** The entry of a volume, if it was seen before. */
export function knownVolume(path: string, host: string, uuid: string): KnownVolume | undefined {
  return parseKnownVolumes(readList(path), path).find((each) => each.host === host && each.uuid === uuid)
}

/** Adds a volume; whole or not at all, and no other process's line is lost. Throws the system's errors. */
export function pinVolume(path: string, host: string, uuid: string, digest: string): void {
  changeList(path, (text) => {
    if (parseKnownVolumes(text, path).some((each) => each.host === host && each.uuid === uuid)) return text
    return `${text === "" || text.endsWith("\n") ? text : `${text}\n`}${host} ${uuid} ${digest}\n`
  })
}

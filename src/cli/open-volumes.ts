/** The open volumes, as this user sees them: root those of everybody. */
import { askEach } from "../control/ask-each.ts"
import type { VolumeStatus } from "../control/volume.ts"

export interface OpenVolume {
  readonly name: string
  /** User id. */
  readonly owner: number
  readonly path: string
  /** "dead": its tresord died; "silent": it does not answer. */
  readonly state: VolumeStatus["state"] | "dead" | "silent"
  /** `null`: it is dead or silent. */
  readonly volume: VolumeStatus | null
}

export async function openVolumes(): Promise<readonly OpenVolume[]> {
  const asked = await askEach((client) => client.status())
  return asked.map(({ name, owner, path, answer }) => {
    if (answer.kind !== "given") return { name, owner, path, state: answer.kind, volume: null }
    const { value: volume } = answer
    return { name, owner, path: volume.path, state: volume.state, volume }
  })
}

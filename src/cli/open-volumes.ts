/** The open volumes, as this user sees them: root those of everybody. */
import { connectVolume } from "../control/daemon.ts"
import { allEntries } from "../control/find.ts"
import type { VolumeStatus } from "../control/volume.ts"

export interface OpenVolume {
  readonly name: string
  /** User id. */
  readonly owner: number
  readonly path: string
  /** `null`: its tresord died. */
  readonly volume: VolumeStatus | null
}

export async function openVolumes(): Promise<readonly OpenVolume[]> {
  const found: OpenVolume[] = []
  for (const { name, owner, state, live } of allEntries()) {
    if (!live) {
      found.push({ name, owner, path: state === "damaged" ? "" : state.path, volume: null })
      continue
    }
    try {
      using client = await connectVolume(name, { others: owner !== process.getuid!() })
      const volume = await client.status()
      found.push({ name, owner, path: volume.path, volume })
    } catch {
      // Closed between the look and the question.
    }
  }
  return found
}

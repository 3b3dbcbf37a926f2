import { formatSize } from "../../base/size.ts"
import { connectVolume } from "../../control/daemon.ts"
import { allEntries } from "../../control/find.ts"
import type { VolumeStatus } from "../../control/volume.ts"
import { nothingOpen } from "../messages.ts"
import { out } from "../output/output.ts"
import { shade } from "../output/state.ts"
import { summary } from "../summary.ts"
import { table } from "../table.ts"
import { stateWorth } from "./status.ts"

/** A row of the list; `volume` null: its tresord died. */
interface Row {
  readonly name: string
  readonly owner: number
  readonly path: string
  readonly volume: VolumeStatus | null
}

export async function list(options: { readonly json?: true }): Promise<void> {
  const rows: Row[] = []
  for (const { name, owner, state, live } of allEntries()) {
    if (!live) {
      rows.push({ name, owner, path: state === "damaged" ? "" : state.path, volume: null })
      continue
    }
    try {
      using client = await connectVolume(name, { others: owner !== process.getuid!() })
      const volume = await client.status()
      rows.push({ name, owner, path: volume.path, volume })
    } catch {
      // Closed between the look and the question.
    }
  }
  if (options.json === true) {
    out.json(
      rows.map(({ name, owner, path, volume }) =>
        volume === null
          ? { name, state: "dead", path, user: owner }
          : { ...summary(volume), state: volume.state, path, user: owner },
      ),
    )
    return
  }
  if (rows.length === 0) {
    out.line(`${nothingOpen}`)
    return
  }
  const several = rows.some(({ owner }) => owner !== process.getuid!())
  const cells = rows.map(({ name, owner, path, volume }) => [
    name,
    ...(several ? [String(owner)] : []),
    ...(volume === null
      ? [shade("bad", "dead"), "-", "-"]
      : [shade(stateWorth(volume.state), volume.state), formatSize(volume.size), volume.enclave.backend]),
    path,
  ])
  const heads = ["NAME", ...(several ? ["USER"] : []), "STATE", "SIZE", "BACKEND", "PATH"]
  out.text(table(heads, cells, out.columns))
}

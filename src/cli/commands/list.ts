import type { VolumeStatus } from "../../control/volume.ts"
import { liveNames } from "../../daemon/runtime.ts"
import { runtimeRoot } from "../../daemon/runtime-root.ts"
import { out } from "../../output/output.ts"
import { shade } from "../../output/state.ts"
import { connectVolume } from "../daemon.ts"
import { nothingOpen } from "../messages.ts"
import { formatSize } from "../options.ts"
import { summary } from "../summary.ts"
import { table } from "../table.ts"
import { stateWorth } from "./status.ts"

export async function list(options: { readonly json?: true }): Promise<void> {
  const volumes: VolumeStatus[] = []
  for (const name of liveNames(runtimeRoot())) {
    try {
      using volume = await connectVolume(name)
      volumes.push(await volume.status())
    } catch {
      // Closed between the look and the question.
    }
  }
  if (options.json === true) {
    out.json(volumes.map((each) => ({ ...summary(each), state: each.state, path: each.path })))
  } else if (volumes.length === 0) {
    out.line(`${nothingOpen}`)
  } else {
    const rows = volumes.map((each) => [
      each.name,
      shade(stateWorth(each.state), each.state),
      formatSize(each.size),
      each.enclave.backend,
      each.path,
    ])
    out.text(table(["NAME", "STATE", "SIZE", "BACKEND", "PATH"], rows, out.columns))
  }
}

import { formatSize } from "../../base/size.ts"
import { nothingOpen } from "../messages.ts"
import { type OpenVolume, openVolumes } from "../open-volumes.ts"
import { out } from "../output/output.ts"
import { shade } from "../output/state.ts"
import { summary } from "../summary.ts"
import { table } from "../table.ts"
import { watch } from "../watch.ts"
import { stateWords, stateWorth } from "./status.ts"

export interface ListOptions {
  readonly json?: true
  /** Seconds; `true`: one. */
  readonly watch?: number | true
}

export async function list(options: ListOptions): Promise<void> {
  if (options.watch !== undefined) return watch(options.watch === true ? 1 : options.watch, options)
  const rows: readonly OpenVolume[] = await openVolumes()
  if (options.json === true) {
    out.json(
      rows.map(({ name, owner, path, state, volume }) =>
        volume === null
          ? { name, state, path, user: owner }
          : { ...summary(volume), state, reencryption: volume.reencryption, path, user: owner },
      ),
    )
    return
  }
  if (rows.length === 0) {
    out.line(`${nothingOpen}`)
    return
  }
  const several = rows.some(({ owner }) => owner !== process.getuid!())
  const cells = rows.map(({ name, owner, path, state, volume }) => [
    name,
    ...(several ? [String(owner)] : []),
    ...(volume === null
      ? [shade("bad", state), "-", "-"]
      : [shade(stateWorth(volume.state), stateWords(volume)), formatSize(volume.size), volume.enclave.backend]),
    path,
  ])
  const heads = ["NAME", ...(several ? ["USER"] : []), "STATE", "SIZE", "BACKEND", "PATH"]
  out.text(table(heads, cells, out.columns))
}

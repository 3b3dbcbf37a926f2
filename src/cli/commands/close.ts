import { Exit, TresorError } from "../../base/errors.ts"
import { type CloseOptions, closeVolume } from "../../control/daemon.ts"
import { runtimeRoot } from "../../control/runtime-root.ts"
import { readRecords } from "../../mount/layers.ts"
import { isMountPoint } from "../../mount/mount.ts"
import { type AllOption, forEach } from "../every.ts"

/** What a mounted filesystem writes next would be lost: exit 5, as cryptsetup. */
function refuseMounted(name: string): void {
  const mounted = readRecords(runtimeRoot()).find((each) => each.name === name && isMountPoint(each.directory))
  if (mounted === undefined) return
  throw new TresorError(
    "VOLUME_IN_USE",
    Exit.busy,
    `Cannot close ${name}: it is still in use, mounted on ${mounted.directory}; run \`tresor umount ${mounted.directory}\`, ` +
      "or use --deferred or --force",
  )
}

export async function close(name: string | undefined, { all, ...options }: CloseOptions & AllOption): Promise<void> {
  if (options.force === true && options.deferred === true) {
    throw new TresorError("USAGE", Exit.badArguments, "Cannot close: --force and --deferred exclude each other")
  }
  await forEach("close", name, all === true ? { all } : {}, async (each) => {
    if (options.force !== true && options.deferred !== true) refuseMounted(each)
    await closeVolume(each, { others: true }, options)
  })
}

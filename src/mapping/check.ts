/** `tresor open --kernel`: what can be known before a daemon is started. */
import type { ErrorCode } from "../base/error-codes.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { isNbdUri } from "../nbd/uri.ts"
import { moduleNode, OTHER_VERSION } from "./attach.ts"

interface Options {
  readonly direct?: boolean | undefined
  readonly grace?: number | null | undefined
}

/** Throws what would fail later, in words that name the way out. */
export function checkKernel(path: string, options: Options): void {
  const refuse = (code: ErrorCode, exitCode: TresorError["exitCode"], reason: string): never => {
    throw new TresorError(code, exitCode, `Cannot open ${path} with --kernel: ${reason}`)
  }
  if (isNbdUri(path)) refuse("USAGE", Exit.badArguments, "it is neither a file nor a block device")
  if (options.direct === true) refuse("USAGE", Exit.badArguments, "--direct is for volumes served over NBD")
  if (options.grace != null) {
    refuse(
      "USAGE",
      Exit.badArguments,
      "how long I/O waits is grace_seconds of tresor.ko: /sys/module/tresor/parameters",
    )
  }
  if (process.getuid?.() !== 0)
    refuse("NOT_ROOT", Exit.denied, "device-mapper is root's alone; run as root, or open it over NBD")
  const node = moduleNode()
  if (node === "former") refuse("ATTACH_EPROTO", Exit.wrongDevice, OTHER_VERSION)
  if (node === "absent")
    refuse("MODULE_MISSING", Exit.wrongDevice, "tresor.ko is not loaded; `tresor kernel load` loads it")
}

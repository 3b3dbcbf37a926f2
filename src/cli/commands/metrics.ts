/** `tresor metrics`: open volumes for Prometheus. */
import { Exit, TresorError } from "../../base/errors.ts"
import { replaceFile } from "../../base/replace-file.ts"
import { openMetrics } from "../open-metrics.ts"
import { openVolumes } from "../open-volumes.ts"
import { out } from "../output/output.ts"

/** Other programs read it. */
const MODE = 0o644

export async function metrics({ output }: { readonly output?: string }): Promise<void> {
  const text = openMetrics(await openVolumes())
  if (output === undefined) {
    out.script(text)
    return
  }
  try {
    replaceFile(output, text, MODE)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new TresorError(
      "METRICS_UNWRITTEN",
      Exit.wrongDevice,
      `Cannot write ${output}: ${code ?? message}; name a file in a directory that this user may write to`,
      { cause: error },
    )
  }
}

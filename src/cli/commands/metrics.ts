/** `tresor metrics`: open volumes for Prometheus. */
import { Exit, TresorError } from "../../base/errors.ts"
import { replaceFile } from "../../base/replace-file.ts"
import { visibleText } from "../../base/visible.ts"
import { answerTo, HEAD_LIMIT, isWhole } from "../metrics-http.ts"
import { openMetrics } from "../open-metrics.ts"
import { openVolumes } from "../open-volumes.ts"
import { out } from "../output/output.ts"

/** Other programs read it. */
const MODE = 0o644

/** Seconds that a client may take for its request. */
const PATIENCE = 10

/** What a client sends on standard input, a socket that systemd accepted, as far as the end of its request's head. */
function requestHead(): Promise<string> {
  return new Promise((resolve) => {
    let head = ""
    const end = () => {
      clearTimeout(late)
      process.stdin.destroy()
      resolve(head)
    }
    const late = setTimeout(end, PATIENCE * 1000)
    process.stdin.setEncoding("latin1").on("data", (text: string) => {
      head += text
      if (isWhole(head) || head.length > HEAD_LIMIT) end()
    })
    process.stdin.on("end", end).on("error", end)
  })
}

interface MetricsOptions {
  readonly output?: string
  readonly http?: true
}

export async function metrics({ output, http }: MetricsOptions): Promise<void> {
  const current = async () => openMetrics(await openVolumes())
  if (http === true) {
    if (output !== undefined) {
      throw new TresorError("USAGE", Exit.badArguments, "Cannot print metrics: --http and --output exclude each other")
    }
    // Escaped before it is counted.
    const answer = await answerTo(await requestHead(), async () => visibleText(await current()))
    out.bytes(Buffer.from(answer))
    return
  }
  const text = await current()
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

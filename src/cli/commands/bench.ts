import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Exit, TresorError } from "../../errors.ts"

/** The benchmarks lie beside the sources: they compare with other people's servers and need them installed. */
export async function bench(words: readonly string[]): Promise<void> {
  const here = import.meta.url
  const script = fileURLToPath(
    new URL(here.endsWith(".ts") ? "../../../scripts/bench.mjs" : "../scripts/bench.mjs", here),
  )
  if (!existsSync(script)) {
    throw new TresorError(
      "BENCH_MISSING",
      Exit.badArguments,
      "Cannot measure: the benchmarks come with the sources; run `npm run bench` in a checkout",
    )
  }
  const child = spawn(process.execPath, [script, ...words], { stdio: "inherit" })
  process.exitCode = await new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? 1)))
}

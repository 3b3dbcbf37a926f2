/** `--all` in the place of a name: each of this user's open volumes, one after another. */
import { Exit, TresorError } from "../base/errors.ts"
import { liveNames } from "../control/runtime.ts"
import { runtimeRoot } from "../control/runtime-root.ts"
import { tell } from "./messages.ts"
import { err } from "./output/output.ts"

export interface AllOption {
  readonly all?: true
}

/** Throws USAGE (exit 1) unless there is either a name or --all. */
export function checkOne(verb: string, name: string | undefined, { all }: AllOption): void {
  if ((name === undefined) === (all === true)) return
  const fact = name === undefined ? "no volume is named" : "a name and --all exclude each other"
  throw new TresorError("USAGE", Exit.badArguments, `Cannot ${verb}: ${fact}; example: tresor ${verb} --all`)
}

/**
 * Runs `work` for the volume of that name, or for all. One that fails does not keep the others from it: what was
 * thrown last is thrown in the end, and the rest is said before.
 */
export async function forEach(
  verb: string,
  name: string | undefined,
  options: AllOption,
  work: (name: string) => Promise<void>,
): Promise<void> {
  checkOne(verb, name, options)
  if (name !== undefined) return work(name)
  let failure: unknown = null
  for (const each of liveNames(runtimeRoot())) {
    try {
      await work(each)
    } catch (error) {
      if (failure !== null) err.line(tell(failure).line)
      failure = error
    }
  }
  if (failure !== null) throw failure
}

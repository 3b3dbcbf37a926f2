/** Whether a tresord of this runtime directory has the file or device at a path. */
import { Exit, TresorError } from "../base/errors.ts"
import { isLive, liveNames, readState, storeIdentity } from "./runtime.ts"
import { runtimeRoot } from "./runtime-root.ts"

/** The name of the tresord that serves the file or device at `path`, or has its header there; `null`: none does. */
export function openAs(path: string, rootOf: () => string = runtimeRoot): string | null {
  const root = rootWhere(rootOf)
  if (root === null) return null
  const store = storeIdentity(path)
  const found = liveNames(root).find((name) => {
    const state = readState(root, name)
    return isLive(state) && (state.store === store || state.header === store)
  })
  return found ?? null
}

/** Whether a tresord of this name runs. */
export function isOpen(name: string, rootOf: () => string = runtimeRoot): boolean {
  const root = rootWhere(rootOf)
  return root !== null && liveNames(root).includes(name)
}

/**
 * Throws VOLUME_IN_USE (exit 5) when a tresord serves the file or device at `path`, or has its header there.
 * `purpose`: "create a volume on".
 */
export function checkNotOpen(path: string, purpose: string, rootOf: () => string = runtimeRoot): void {
  const name = openAs(path, rootOf)
  if (name === null) return
  throw new TresorError("VOLUME_IN_USE", Exit.busy, `Cannot ${purpose} ${path}: it is open as ${name}; close it first`)
}

/** `null`: this user has no place for a runtime directory (su without a session), so that no tresord can be in one. */
function rootWhere(rootOf: () => string): string | null {
  try {
    return rootOf()
  } catch (error) {
    if (error instanceof TresorError && error.code === "RUNTIME_UNKNOWN") return null
    throw error
  }
}

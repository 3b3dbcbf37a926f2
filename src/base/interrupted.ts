/** Removes what is half done when a signal ends the program. */

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const
type Signal = keyof typeof SIGNALS

/** The latest first. */
const undos: (() => void)[] = []

function onSignal(signal: Signal): void {
  for (const undo of undos.splice(0).reverse()) {
    try {
      undo()
    } catch {
      // The next one is called anyway.
    }
  }
  for (const [each, handler] of handlers) process.off(each, handler)
  // Whoever else listens has more to clear up, and ends the process then.
  if (process.listenerCount(signal) === 0) process.exit(SIGNALS[signal])
}

const handlers = (Object.keys(SIGNALS) as Signal[]).map((signal) => [signal, () => onSignal(signal)] as const)

/** Runs `work`; on a signal that ends us `undo` is called first. Otherwise undoing is the caller's. */
export async function undoneWhenInterrupted<T>(undo: () => void, work: () => Promise<T>): Promise<T> {
  if (undos.length === 0) for (const [signal, handler] of handlers) process.prependListener(signal, handler)
  undos.push(undo)
  try {
    return await work()
  } finally {
    const at = undos.indexOf(undo)
    if (at >= 0) undos.splice(at, 1)
    if (undos.length === 0) for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}

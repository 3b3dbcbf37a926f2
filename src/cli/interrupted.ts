/** What is half done goes when we are told to end. */

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** Runs `work`; on a signal that ends us `undo` is called first. Otherwise undoing is the caller's. */
export async function undoneWhenInterrupted<T>(undo: () => void, work: () => Promise<T>): Promise<T> {
  const handlers = (Object.entries(SIGNALS) as [keyof typeof SIGNALS, number][]).map(([signal, code]) => {
    const handler = () => {
      try {
        undo()
      } finally {
        process.exit(code)
      }
    }
    process.prependOnceListener(signal, handler)
    return [signal, handler] as const
  })
  try {
    return await work()
  } finally {
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}

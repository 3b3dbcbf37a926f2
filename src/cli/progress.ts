/** A bar on a terminal, for work that takes longer than a second; nothing elsewhere. */

export interface Progress extends Disposable {
  /** 0 to 1. */
  update(fraction: number): void
}

const SHOW_AFTER_MS = 1000

/** Work that says how far it is: a bar. */
export function progressBar(label: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (stream.isTTY !== true) return { update() {}, [Symbol.dispose]() {} }
  let bar: { update(value: number): void; stop(): void } | null = null
  let latest = 0
  let over = false
  const timer = setTimeout(async () => {
    const { SingleBar } = (await import("cli-progress")).default
    if (over) return
    const shown = new SingleBar({
      format: `${label} [{bar}] {percentage} %`,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      hideCursor: true,
      clearOnComplete: true,
      stream,
    })
    shown.start(1, latest)
    bar = shown
  }, SHOW_AFTER_MS)
  return {
    update(fraction) {
      latest = fraction
      bar?.update(fraction)
    },
    [Symbol.dispose]() {
      over = true
      clearTimeout(timer)
      bar?.stop()
    },
  }
}

/** Work inside the enclave, which tells nothing while it runs: the time it takes. */
export async function withClock<T>(
  label: string,
  work: Promise<T>,
  stream: NodeJS.WriteStream = process.stderr,
): Promise<T> {
  if (stream.isTTY !== true) return work
  const started = Date.now()
  let shown = false
  const timer = setInterval(() => {
    shown = true
    stream.write(`\r${label} … ${Math.round((Date.now() - started) / 1000)} s`)
  }, SHOW_AFTER_MS)
  try {
    return await work
  } finally {
    clearInterval(timer)
    if (shown) stream.write("\r\x1b[K")
  }
}

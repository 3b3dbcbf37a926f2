/** A bar on a terminal, for work that takes longer than a second; nothing elsewhere. */

export interface Progress extends Disposable {
  /** 0 to 1. */
  update(fraction: number): void
}

const SHOW_AFTER_MS = 1000

/** Work that says how far it is: a bar, a second after it first did. */
export function progressBar(label: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (stream.isTTY !== true) return { update() {}, [Symbol.dispose]() {} }
  let bar: { update(value: number): void; stop(): void } | null = null
  let latest = 0
  let over = false
  const show = async () => {
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
  }
  let timer: NodeJS.Timeout | undefined
  return {
    update(fraction) {
      latest = fraction
      timer ??= setTimeout(show, SHOW_AFTER_MS)
      bar?.update(fraction)
    },
    [Symbol.dispose]() {
      over = true
      clearTimeout(timer)
      bar?.stop()
    },
  }
}

export interface Clock extends Disposable {
  /** The line is gone, and stays so. */
  stop(): void
}

/** For work inside the enclave, which tells nothing while it runs: the time it takes. */
export function startClock(label: string, stream: NodeJS.WriteStream = process.stderr): Clock {
  if (stream.isTTY !== true) return { stop() {}, [Symbol.dispose]() {} }
  const started = Date.now()
  let shown = false
  const timer = setInterval(() => {
    shown = true
    stream.write(`\r${label} … ${Math.round((Date.now() - started) / 1000)} s`)
  }, SHOW_AFTER_MS)
  const stop = () => {
    clearInterval(timer)
    if (shown) stream.write("\r\x1b[K")
    shown = false
  }
  return { stop, [Symbol.dispose]: stop }
}

export async function withClock<T>(label: string, work: Promise<T>, stream?: NodeJS.WriteStream): Promise<T> {
  using _clock = startClock(label, stream)
  return await work
}

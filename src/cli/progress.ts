/** A bar on a terminal, for work that takes longer than a second; nothing elsewhere. */

export interface Progress extends Disposable {
  /** 0 to 1. */
  update(fraction: number): void
}

const SHOW_AFTER_MS = 1000

/** What stands behind the bar: names in braces, and what they say at a fraction. */
interface BarWords {
  readonly words?: string
  readonly facts?: (fraction: number) => Readonly<Record<string, string>>
}

/** Work that says how far it is: a bar, a second after it first did. */
export function progressBar(
  label: string,
  stream: NodeJS.WriteStream = process.stderr,
  { words = "{percentage} %", facts = () => ({}) }: BarWords = {},
): Progress {
  if (stream.isTTY !== true) return { update() {}, [Symbol.dispose]() {} }
  let bar: { update(value: number, facts: object): void; stop(): void } | null = null
  let latest = 0
  let over = false
  const show = async () => {
    const { SingleBar } = (await import("cli-progress")).default
    if (over) return
    const shown = new SingleBar({
      format: `${label} [{bar}] ${words}`,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      hideCursor: true,
      clearOnComplete: true,
      stream,
    })
    shown.start(1, latest, facts(latest))
    bar = shown
  }
  let timer: NodeJS.Timeout | undefined
  return {
    update(fraction) {
      latest = fraction
      timer ??= setTimeout(show, SHOW_AFTER_MS)
      bar?.update(fraction, facts(fraction))
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

export interface RateBar extends Disposable {
  /** Bytes done, of all there are. */
  update(done: number): void
  /** The line is gone. */
  stop(): void
}

const clockTime = (seconds: number): string => {
  const [minutes, rest] = [Math.floor(seconds / 60), Math.floor(seconds % 60)]
  return `${String(minutes).padStart(2, "0")}m${String(rest).padStart(2, "0")}s`
}

/**
 * Work counted in bytes, with its rate and the time left: a bar on a terminal, or, where `everySeconds` says so, a line
 * each so many seconds as cryptsetup prints it.
 */
export function rateBar(
  label: string,
  {
    total,
    first,
    everySeconds,
  }: { readonly total: number; readonly first: number; readonly everySeconds: number | null },
  stream: NodeJS.WriteStream = process.stderr,
): RateBar {
  const began = performance.now()
  let told = began
  const facts = (done: number) => {
    const seconds = (performance.now() - began) / 1000
    const rate = seconds > 0 ? (done - first) / seconds : 0
    return { rate: rate / 2 ** 20, left: rate > 0 ? clockTime((total - done) / rate) : "--m--s" }
  }
  const lines = everySeconds !== null && everySeconds > 0
  const bar = lines
    ? null
    : progressBar(label, stream, {
        words: "{percentage} % | {rate} MiB/s | {left} left",
        facts: (fraction) => {
          const { rate, left } = facts(fraction * total)
          return { rate: rate.toFixed(1), left }
        },
      })
  const stop = () => bar?.[Symbol.dispose]()
  return {
    update(done) {
      bar?.update(total === 0 ? 1 : done / total)
      if (!lines || performance.now() - told < everySeconds * 1000) return
      told = performance.now()
      const { rate, left } = facts(done)
      const share = ((100 * done) / total).toFixed(1)
      stream.write(
        `Progress: ${share}%, ETA ${left}, ${Math.floor(done / 2 ** 20)} MiB written, speed ${rate.toFixed(1)} MiB/s\n`,
      )
    },
    stop,
    [Symbol.dispose]: stop,
  }
}

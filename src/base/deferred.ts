/** A promise that is settled from outside, and may reject while nobody waits for it. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((one, other) => {
    resolve = one
    reject = other
  })
  // Nobody may be waiting when it rejects.
  promise.catch(() => {})
  return { promise, resolve, reject }
}

/** Tracks the received bytes of a read: a reply that does not cover each byte exactly once is refused. Pure. */

/** Separate pieces at one time. Servers send in order or nearly so; a hostile one must not make us search long lists. */
export const MOST_PIECES = 1024

export class Coverage {
  /** Starts and ends in turn, ascending; pieces that touch are one. */
  readonly #edges: number[] = []

  /** False: a byte of [start, end) has come before, the range is empty, or there are too many pieces. */
  add(start: number, end: number): boolean {
    const edges = this.#edges
    if (!(start < end)) return false
    // The first edge that is past `start`; an odd one ends a piece that `start` lies in.
    let [low, high] = [0, edges.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (edges[middle]! <= start) low = middle + 1
      else high = middle
    }
    if (low % 2 === 1 || (low < edges.length && edges[low]! < end)) return false
    const before = low > 0 && edges[low - 1] === start
    const behind = low < edges.length && edges[low] === end
    if (before && behind) edges.splice(low - 1, 2)
    else if (before) edges[low - 1] = end
    else if (behind) edges[low] = start
    else if (edges.length === 2 * MOST_PIECES) return false
    else edges.splice(low, 0, start, end)
    return true
  }

  /** Whether every byte of [0, length) has come. */
  covers(length: number): boolean {
    const [start, end] = this.#edges
    return length === 0 ? start === undefined : this.#edges.length === 2 && start === 0 && end === length
  }
}

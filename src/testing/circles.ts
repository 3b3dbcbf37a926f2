/** Circles in who uses whom. */

/** One way round each group of nodes that use each other, as "a -> b -> a". */
export function circlesOf(uses: ReadonlyMap<string, Iterable<string>>): readonly string[] {
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (node: string, path: readonly string[]): void => {
    const start = path.indexOf(node)
    if (start >= 0) {
      circles.push([...path.slice(start), node].join(" -> "))
      return
    }
    if (done.has(node)) return
    for (const next of uses.get(node) ?? []) if (uses.has(next)) visit(next, [...path, node])
    done.add(node)
  }
  for (const node of uses.keys()) visit(node, [])
  return circles
}

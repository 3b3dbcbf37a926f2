/**
 * A mounted volume is a stack of layers: the volume's NBD socket, if it was opened for the mount, a block
 * device made of it (nbd, or nbdfuse and loop), a link to that, a filesystem. Each layer says
 * how it is undone, as data: the record lies in the runtime directory until
 * `umount`, which may come from another process, after a crash or after the
 * daemon's death.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import * as v from "valibot"
import { parseJson } from "../base/json.ts"
import { replaceFile } from "../base/replace-file.ts"
import { checkRoot } from "../control/runtime-root.ts"

const layerSchema = v.variant("kind", [
  v.object({ kind: v.literal("volume"), name: v.string() }),
  v.object({ kind: v.literal("nbd"), device: v.string() }),
  v.object({ kind: v.literal("fuse"), directory: v.string(), made: v.boolean() }),
  v.object({ kind: v.literal("loop"), device: v.string() }),
  v.object({ kind: v.literal("link"), name: v.string(), device: v.string() }),
  v.object({ kind: v.literal("filesystem"), directory: v.string() }),
])

const recordSchema = v.object({
  version: v.literal(1),
  name: v.string(),
  path: v.string(),
  directory: v.string(),
  /** Bottom first. */
  layers: v.array(layerSchema),
})

export type Layer = v.InferOutput<typeof layerSchema>
export type MountRecord = v.InferOutput<typeof recordSchema>

/** Beside the volumes' directories, not inside: it outlives a killed tresord. */
function folder(root: string): string {
  return join(root, ".mounts")
}

/** Where nbdfuse shows the plaintext device of a volume. */
export function fuseDirectory(root: string, name: string): string {
  return join(folder(root), name)
}

export function saveRecord(root: string, record: MountRecord): void {
  mkdirSync(folder(root), { recursive: true, mode: 0o700 })
  replaceFile(join(folder(root), `${record.name}.json`), `${JSON.stringify(record)}\n`)
}

export function removeRecord(root: string, record: MountRecord): void {
  rmSync(join(folder(root), `${record.name}.json`), { force: true })
}

/** What is undone by these, as root: only from a root that nobody else can write. Throws RUNTIME_NOT_PRIVATE. */
export function readRecords(root: string): MountRecord[] {
  if (!checkRoot(root)) return []
  let entries: string[]
  try {
    entries = readdirSync(folder(root))
  } catch {
    return []
  }
  const records: MountRecord[] = []
  for (const entry of entries.filter((name) => name.endsWith(".json"))) {
    try {
      const parsed = v.safeParse(recordSchema, parseJson(readFileSync(join(folder(root), entry), "utf8")))
      if (parsed.success) records.push(parsed.output)
    } catch {
      // Removed by an umount that runs beside us.
    }
  }
  return records
}

export interface Undone {
  /** Layers that still stand, bottom first. */
  readonly left: readonly Layer[]
  /** One line for each of them. */
  readonly failures: readonly string[]
}

/**
 * Undoes every layer from the top, going on past those that fail. What a layer
 * still standing writes through is left alone: a volume closed under a mounted
 * filesystem would lose its writes.
 */
export async function undoLayers(layers: readonly Layer[], undo: (layer: Layer) => Promise<void>): Promise<Undone> {
  const left: Layer[] = []
  const failures: string[] = []
  for (const layer of layers.toReversed()) {
    const user = left.find((above) => above.kind === "filesystem" || layer.kind === "volume")
    if (user !== undefined) {
      failures.push(`${describe(layer)} is left, ${describe(user)} still uses it`)
      left.unshift(layer)
      continue
    }
    try {
      await undo(layer)
    } catch (error) {
      failures.push((error as Error).message)
      left.unshift(layer)
    }
  }
  return { left, failures }
}

function describe(layer: Layer): string {
  switch (layer.kind) {
    case "volume":
      return `the open volume ${layer.name}`
    case "nbd":
    case "loop":
      return layer.device
    case "link":
      return `/dev/tresor/${layer.name}`
    case "fuse":
      return `nbdfuse on ${layer.directory}`
    case "filesystem":
      return `the filesystem on ${layer.directory}`
  }
}

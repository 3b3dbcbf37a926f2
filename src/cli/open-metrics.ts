/**
 * Open volumes as OpenMetrics text. Only gauges and counters, so that the text format of Prometheus 0.0.4, which
 * node_exporter's textfile collector reads, has the same meaning. Pure.
 */
import type { VolumeStatus } from "../control/volume.ts"
import type { OpenVolume } from "./open-volumes.ts"

type Labels = Readonly<Record<string, string>>
type Sample = readonly [Labels, number]

interface Family {
  readonly name: string
  /** Absent: a counter of tresord whose kind is not known here. */
  readonly type?: "gauge" | "counter"
  readonly help: string
  readonly samples: readonly Sample[]
}

const escaped = (text: string): string => text.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")

function familyText({ name, type, help, samples }: Family): string {
  const lines = samples.map(([labels, value]) => {
    const shown = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`)
    return `${name}${type === "counter" ? "_total" : ""}{${shown.join(",")}} ${value}\n`
  })
  return `${type === undefined ? "" : `# TYPE ${name} ${type}\n`}# HELP ${name} ${help}\n${lines.join("")}`
}

/** Counters of tresord by their names there; the others are exported under their own. */
const COUNTERS: Readonly<Record<string, readonly [name: string, type: "gauge" | "counter", help: string]>> = {
  reads: ["reads", "counter", "Read requests served, or pieces of large ones."],
  writes: ["writes", "counter", "Write requests served, or pieces of large ones."],
  flushes: ["flushes", "counter", "Flushes served."],
  discards: ["discards", "counter", "Discards served."],
  bytesRead: ["read_bytes", "counter", "Bytes read by clients."],
  bytesWritten: ["written_bytes", "counter", "Bytes written by clients."],
  errors: ["errors", "counter", "Requests that ended in an error."],
  refused: ["refused_clients", "counter", "Clients that were refused."],
  pending: ["pending_requests", "gauge", "Requests being served."],
  waiting: ["waiting_requests", "gauge", "Requests that wait for a key."],
  connections: ["connected_clients", "gauge", "Clients that are connected."],
  batches: ["batches", "counter", "Entries into the enclave for tresor.ko."],
  blocks: ["blocks", "counter", "Sectors done for tresor.ko."],
  bytes: ["bytes", "counter", "Bytes done for tresor.ko."],
  failures: ["failures", "counter", "Requests of tresor.ko that failed."],
}

const STATES = ["locked", "unlocked", "failed", "closing", "dead", "silent"] as const

const snake = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/[^a-z0-9_]/g, "_")

export function openMetrics(volumes: readonly OpenVolume[]): string {
  const labelsOf = ({ name, owner }: OpenVolume): Labels => ({ name, user: String(owner) })
  const live = volumes.flatMap((each) => (each.volume === null ? [] : [[labelsOf(each), each.volume] as const]))
  const all = (value: (each: OpenVolume) => number): Sample[] => volumes.map((each) => [labelsOf(each), value(each)])
  const each = (value: (volume: VolumeStatus) => number | null): Sample[] =>
    live.flatMap(([labels, volume]): Sample[] => {
      const found = value(volume)
      return found === null ? [] : [[labels, found]]
    })
  const gauge = (name: string, help: string, samples: readonly Sample[]): Family => ({
    name: `tresor_volume_${name}`,
    type: "gauge",
    help,
    samples,
  })
  const keys = [...new Set(live.flatMap(([, { counters }]) => Object.keys(counters)))]
  const counted = keys.map((key): Family => {
    const samples = each(({ counters }) => counters[key] ?? null)
    if (!Object.hasOwn(COUNTERS, key)) {
      return { name: `tresor_volume_${snake(key)}`, help: `Counter ${key} of tresord.`, samples }
    }
    const [name, type, help] = COUNTERS[key]!
    return { name: `tresor_volume_${name}`, type, help, samples }
  })
  const families = [
    gauge(
      "info",
      "What the volume is; always 1.",
      live.map(([labels, { uuid, label, path, export: way, cipher, enclave }]) => [
        {
          ...labels,
          ...{ uuid, label, path, export: way, cipher },
          ...{ backend: enclave.backend, mrenclave: enclave.mrenclave },
        },
        1,
      ]),
    ),
    gauge(
      "up",
      "Whether its tresord answers.",
      all(({ volume }) => (volume === null ? 0 : 1)),
    ),
    gauge(
      "state",
      "1 for the state it is in.",
      volumes.flatMap((found) =>
        STATES.map((state): Sample => [{ ...labelsOf(found), state }, found.state === state ? 1 : 0]),
      ),
    ),
    gauge(
      "size_bytes",
      "Size that clients see.",
      each(({ size }) => size),
    ),
    gauge(
      "readonly",
      "Whether writes are refused.",
      each(({ readonly }) => Number(readonly)),
    ),
    gauge(
      "start_time_seconds",
      "When it was opened, since 1970.",
      each(({ since }) => Date.parse(since) / 1000),
    ),
    gauge(
      "keyslots_changed_by_others",
      "Keyslots that are not as they were authenticated.",
      each(({ header }) =>
        header === null ? null : header.slotsChanged.length + header.slotsAdded.length + header.slotsRemoved.length,
      ),
    ),
    gauge(
      "reencryption_running",
      "Whether its reencryption runs; absent: none is pending.",
      each(({ reencryption }) => (reencryption === null ? null : Number(reencryption.state === "running"))),
    ),
    gauge(
      "reencryption_done_bytes",
      "Bytes under the new key.",
      each(({ reencryption }) => reencryption?.done ?? null),
    ),
    gauge(
      "reencryption_stopped",
      "Whether an error stopped its reencryption.",
      each(({ reencryption }) => (reencryption === null ? null : Number(reencryption.state === "stopped"))),
    ),
    gauge(
      "store_requests",
      "Requests under way at the disk.",
      each(({ disk }) => disk?.underWay ?? null),
    ),
    gauge(
      "store_stranded_requests",
      "Requests that the disk never answered.",
      each(({ disk }) => disk?.stranded ?? null),
    ),
    gauge(
      "store_failed",
      "Whether a flush failed, so that nothing is written any more.",
      each(({ disk }) => (disk === null ? null : Number(disk.failed !== null))),
    ),
    gauge(
      "server_connected",
      "Whether the NBD server that has the data is connected.",
      each(({ server }) => (server === null ? null : Number(server.state === "connected"))),
    ),
    gauge(
      "lease_seconds",
      "Time left of the lease on the store.",
      each(({ lease }) => lease?.seconds ?? null),
    ),
    // Those that are known before those that only tresord knows: a family that is there already keeps its name.
    ...counted.toSorted((a, b) => Number(a.type === undefined) - Number(b.type === undefined)),
  ]
  return `${families
    .filter(({ name }, index) => families.findIndex((family) => family.name === name) === index)
    .filter(({ samples }) => samples.length > 0)
    .map(familyText)
    .join("")}# EOF\n`
}

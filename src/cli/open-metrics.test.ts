import assert from "node:assert/strict"
import { test } from "node:test"
import type { VolumeStatus } from "../control/volume.ts"
import { openMetrics } from "./open-metrics.ts"
import type { OpenVolume } from "./open-volumes.ts"

const open = (name: string, owner: number, counters: Record<string, number>): OpenVolume => {
  const enclave = { backend: "software", mrenclave: "ab" }
  const facts = { uuid: "u", label: "", path: "p", export: "nbd", cipher: "c", size: 1, readonly: false, since: "" }
  const none = { header: null, reencryption: null, disk: null, server: null, lease: null }
  const volume = { ...facts, ...none, state: "unlocked", enclave, counters } as unknown as VolumeStatus
  return { name, owner, path: "p", state: "unlocked", volume }
}

const lines = (text: string, start: string) => text.split("\n").filter((line) => line.startsWith(start))

test("a counter that only its tresord knows takes no name that is another family's", () => {
  const names = { up: 9, state: 9, size_bytes: 9, read_bytes: 9, toString: 9, "module.reads": 9 }
  const text = openMetrics([open("work", 0, { bytesRead: 5 }), open("evil", 1000, names)])
  const helped = lines(text, "# HELP ").map((line) => line.split(" ")[2])
  assert.deepEqual(helped, [...new Set(helped)])
  assert.deepEqual(lines(text, "tresor_volume_up{"), [
    'tresor_volume_up{name="work",user="0"} 1',
    'tresor_volume_up{name="evil",user="1000"} 1',
  ])
  assert.deepEqual(lines(text, "tresor_volume_read_bytes"), ['tresor_volume_read_bytes_total{name="work",user="0"} 5'])
  assert.deepEqual(lines(text, "tresor_volume_module_reads"), ['tresor_volume_module_reads{name="evil",user="1000"} 9'])
})

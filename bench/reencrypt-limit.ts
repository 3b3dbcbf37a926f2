/**
 * What a reencryption cannot do without, whatever its order: each byte is read, has its part in a checksum, is decrypted
 * and encrypted inside the enclave, and is written. Each stage alone, by the product's own code, in CPU time.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs"
import { availableParallelism } from "node:os"
import { openEnclave } from "../src/enclave/loader.ts"
import { xtsSpeed } from "../src/enclave/speed.ts"
import { HOT_ZONE } from "../src/library/reencrypt.ts"
import { checksums } from "../src/native/checksums.ts"
import { pageMemory } from "../src/store/past-cache.ts"
import { median } from "./statistics.ts"

const ROUNDS = 3
const PIECE = 1 << 20
const XTS_MS = 300

/** CPU seconds for one GiB. */
export interface Stages {
  readonly read: number
  readonly hash: number
  readonly xts: number
  readonly write: number
}

/** Of this process, all its threads. */
async function cpuSeconds(work: () => unknown): Promise<number> {
  const began = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(began)
  return (user + system) / 1e6
}

/** `file`: larger than a zone; it is written to. */
export async function measureStages(file: string, sector: 512 | 4096, stateDir: string): Promise<Stages> {
  await using enclave = await openEnclave({ backend: "software", stateDir })
  const memory = pageMemory(HOT_ZONE)
  const fd = openSync(file, "r+")
  try {
    const whole = fstatSync(fd).size - (fstatSync(fd).size % HOT_ZONE)
    const perGib = 2 ** 30 / whole
    const each = (move: (bytes: Uint8Array, at: number) => unknown) => () => {
      for (let at = 0; at < whole; at += PIECE) move(memory.subarray(at % HOT_ZONE, (at % HOT_ZONE) + PIECE), at)
    }
    const found: Record<keyof Stages, number[]> = { read: [], hash: [], xts: [], write: [] }
    for (let round = 0; round < ROUNDS; round++) {
      const read = await cpuSeconds(each((bytes, at) => readSync(fd, bytes, 0, PIECE, at)))
      found.read.push(read * perGib)
      found.hash.push((await cpuSeconds(() => checksums(memory, sector))) * (2 ** 30 / HOT_ZONE))
      const speeds = [await xtsSpeed(enclave, sector, true, XTS_MS), await xtsSpeed(enclave, sector, false, XTS_MS)]
      found.xts.push(speeds.reduce((seconds, speed) => seconds + 2 ** 30 / speed, 0))
      const write = await cpuSeconds(each((bytes, at) => writeSync(fd, bytes, 0, PIECE, at)))
      found.write.push(write * perGib)
    }
    return {
      read: median(found.read),
      hash: median(found.hash),
      xts: median(found.xts),
      write: median(found.write),
    }
  } finally {
    closeSync(fd)
  }
}

/** CPU seconds of all stages for one GiB. */
export const sumOf = ({ read, hash, xts, write }: Stages): number => read + hash + xts + write

/** Seconds for `gib` when all CPUs share the stages and nothing else is done. */
export const leastSeconds = (stages: Stages, gib: number): number => (sumOf(stages) * gib) / availableParallelism()

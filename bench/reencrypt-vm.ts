/**
 * `tresor reencrypt` beside `cryptsetup reencrypt`, which is dm-crypt's work there, on copies of one file in memory: in one
 * boot of an emulated machine, so only the ratios mean anything. Whole commands, and less what each takes for next to no
 * data: emulated, a start of Node takes longer than the pass.
 *
 *   node_modules/.bin/node bench/reencrypt-vm.ts [--rounds N] [MIB]
 *
 * Needs root's packages of `npm run test:vm`.
 */
import { parseArgs } from "node:util"
import { buildPrograms, CPU, logs } from "../test/vm/checks.ts"
import { laterKernel } from "../test/vm/kernels.ts"
import { Machine } from "../test/vm/machine.ts"
import { median } from "./statistics.ts"

/** A volume with next to no data: what it takes is the start and the end of a pass. */
const START_MIB = 18
const GOAL = 3

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "3" } },
  allowPositionals: true,
})
const [rounds, mib] = [Number(values.rounds), Number(positionals[0] ?? 256)]
if (!Number.isInteger(rounds) || rounds < 1 || !Number.isInteger(mib) || mib <= START_MIB) {
  process.stderr.write(`Usage: reencrypt-vm.ts [--rounds N] [MIB], of more than ${START_MIB} MiB\n`)
  process.exit(2)
}

buildPrograms()
/** "sector tool MiB" -> seconds, one for each round. */
const measured = new Map<string, number[]>()
let failed = false
const options = {
  kernel: laterKernel(),
  parts: ["reencrypt"],
  kernelWords: `tresor.rounds=${rounds} tresor.sizes=${START_MIB},${mib}`,
  cpu: CPU,
  memoryMib: 1024 + 3 * mib,
  seconds: 300 + 600 * rounds,
}
await Machine.run({ ...options, directory: logs(options) }, (line) => {
  const [word, sector, tool, size, seconds] = line.split(" ")
  const key = `${sector} ${tool} ${size}`
  if (word === "bench") measured.set(key, [...(measured.get(key) ?? []), Number(seconds)])
  else if (word === "not" || word === "#") process.stderr.write(`${line}\n`)
  if (word === "not") failed = true
  return undefined
})
if (failed || measured.size === 0) process.exit(1)

const of = (sector: number, tool: string, size: number): number =>
  median(measured.get(`${sector} ${tool} ${size}`) ?? [])
console.log(`${mib} MiB, medians of ${rounds} rounds, Linux ${options.kernel.release}, emulated\n`)
console.log("| sectors | tresor, s | its start | cryptsetup, s | its start | ratio | ratio without starts |")
console.log("|---|--:|--:|--:|--:|--:|--:|")
for (const sector of [4096, 512]) {
  const [ours, start] = [of(sector, "tresor", mib), of(sector, "tresor", START_MIB)]
  const [theirs, theirStart] = [of(sector, "cryptsetup", mib), of(sector, "cryptsetup", START_MIB)]
  const passes = (theirs - theirStart) / (ours - start)
  const cells = [ours, start, theirs, theirStart, theirs / ours, passes].map((cell) => cell.toFixed(2))
  console.log(`| ${sector} | ${cells.join(" | ")} |`)
  console.log(
    `\nreencryption in memory, ${sector}: ${passes.toFixed(2)}, >= ${GOAL}: ${passes >= GOAL ? "" : "not "}reached\n`,
  )
}

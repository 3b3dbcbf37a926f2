/**
 * npm run bench [-- --quick] [--rounds N] [--output FOLDER] [--folder FOLDER] [--doc]
 *
 * Our encrypted NBD export beside the servers people would use instead, at the
 * points of the goals. Prints a table and what came of each goal; writes
 * nbd.json, nbd.html and nbd.svg. --doc rewrites the figures in
 * docs/performance.md. A benchmark is no test: it exits 0 whatever it finds.
 */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Contender, removeFolder, startContenders } from "./contenders.ts"
import { runFio } from "./fio.ts"
import { judge } from "./goals.ts"
import { describeMachine } from "./machine.ts"
import { POINTS, type Point } from "./points.ts"
import { cpuSeconds } from "./process-cpu.ts"
import { html, markdown, mediansOf, type Report, type Row, svg, terminalText } from "./report.ts"
import { summarize } from "./statistics.ts"

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    output: { type: "string", default: fileURLToPath(new URL("../build/bench", import.meta.url)) },
    /** Where the backing files lie. */
    folder: { type: "string", default: tmpdir() },
    doc: { type: "boolean", default: false },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 3 : 7))
if (!Number.isInteger(rounds) || rounds < 1) throw new RangeError(`--rounds ${values.rounds} is no number of rounds`)
const size = values.quick ? 256 << 20 : 1 << 30
const milliseconds = values.quick ? 500 : 2000

interface Sample {
  readonly value: number
  readonly cpuPerGb: number
  readonly clientCpuPerGb: number
  readonly p99: number
}

async function measure({ socket, pid }: Contender, point: Point): Promise<Sample> {
  const before = cpuSeconds(pid)
  const { value, bytes, clientCpu, p99 } = await runFio(socket, point, size, milliseconds)
  const gigabytes = bytes / 1e9
  return { value, p99, cpuPerGb: (cpuSeconds(pid) - before) / gigabytes, clientCpuPerGb: clientCpu / gigabytes }
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

/** Round by round, so that what disturbs the machine disturbs all. */
async function measureAll(contenders: readonly Contender[]): Promise<Row[]> {
  const samples = new Map<string, Sample[]>()
  for (let round = 1; round <= rounds; round++) {
    for (const point of POINTS) {
      for (const contender of contenders) {
        progress(`round ${round} of ${rounds}: ${point.name}, ${contender.name}`)
        const key = `${contender.name}/${point.name}`
        const list = samples.get(key) ?? []
        list.push(await measure(contender, point))
        samples.set(key, list)
      }
    }
  }
  return contenders.flatMap(({ name }) =>
    POINTS.map((point): Row => {
      const of = (field: keyof Sample) =>
        summarize(samples.get(`${name}/${point.name}`)!.map((sample) => sample[field]))
      return {
        contender: name,
        point: point.name,
        unit: point.unit,
        value: of("value"),
        cpuPerGb: of("cpuPerGb"),
        clientCpuPerGb: of("clientCpuPerGb"),
        p99: of("p99"),
      }
    }),
  )
}

const BEGIN = "<!-- nbd figures: written by npm run bench -- --doc -->"
const END = "<!-- end of nbd figures -->"

function rewriteDocument(report: Report): void {
  const docs = new URL("../docs/", import.meta.url)
  const path = new URL("performance.md", docs)
  const text = readFileSync(path, "utf8")
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (from < 0 || to < from) throw new Error("docs/performance.md lacks the markers of the figures")
  writeFileSync(path, `${text.slice(0, from + BEGIN.length)}\n\n${markdown(report)}\n\n${text.slice(to)}`)
  writeFileSync(new URL("performance.svg", docs), svg(report))
}

const folder = mkdtempSync(join(values.folder, "tresor-bench-"))
let rows: Row[]
const machine = describeMachine()
try {
  const { contenders, stop } = await startContenders(folder, size, progress)
  const interrupted = () =>
    void stop().finally(() => {
      removeFolder(folder)
      process.exit(130)
    })
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted)
  try {
    rows = await measureAll(contenders)
  } finally {
    await stop()
  }
} finally {
  removeFolder(folder)
  progress("")
}
const report: Report = {
  machine,
  rounds,
  secondsPerRun: milliseconds / 1000,
  mibPerContender: size >> 20,
  rows,
  verdicts: judge(mediansOf(rows)),
}
mkdirSync(values.output, { recursive: true })
writeFileSync(join(values.output, "nbd.json"), `${JSON.stringify(report, null, 2)}\n`)
writeFileSync(join(values.output, "nbd.html"), html(report))
writeFileSync(join(values.output, "nbd.svg"), svg(report))
process.stdout.write(terminalText(report))
process.stdout.write(`${join(values.output, "nbd.html")}\n`)
if (values.doc) rewriteDocument(report)

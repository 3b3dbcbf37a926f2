/**
 * npm run bench: our encrypted NBD export beside the servers people would use instead, at the points of the goals.
 * Prints a table and what came of each goal; writes NAME.json, NAME.html and NAME.svg. A benchmark is no test: it
 * exits 0 whatever it finds, 1 when it cannot measure and 2 when it was not asked properly.
 */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { removeFolder } from "./contenders.ts"
import { DISK } from "./disk.ts"
import { judge } from "./goals.ts"
import { describeMachine } from "./machine.ts"
import { BESIDE, CACHED } from "./nbd.ts"
import { beside, html, markdown, mediansOf, type Report, type Row, svg, terminalText } from "./report.ts"
import type { Table } from "./table.ts"
import { VHOST } from "./vhost.ts"

const HELP = `Usage: npm run bench -- [--disk | --vhost] [options]

Measures the encrypted NBD export beside nbdkit and qemu-nbd. Needs fio, nbdkit, qemu-utils, cryptsetup, vmtouch;
--vhost also make, gcc and qemu-storage-daemon.

      --disk             files on the disk, page cache dropped before each run (as root); default: everything cached
      --vhost            the vhost-user-blk export beside qemu-storage-daemon's, everything cached
      --quick            fewer bytes, three short rounds
      --rounds N         number of rounds
      --folder FOLDER    where the backing files go (default: the system's folder for temporary files)
      --output FOLDER    where the results go (default: build/bench)
      --beside CHECKOUT  also measure another checkout of Tresor, which is built
      --doc              write the figures into docs/performance.md
      --help             display this help
`

function fail(status: 1 | 2, error: unknown): never {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(status)
}

function parseWords() {
  const { values } = parseArgs({
    options: {
      disk: { type: "boolean", default: false },
      vhost: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      folder: { type: "string", default: tmpdir() },
      output: { type: "string", default: fileURLToPath(new URL("../build/bench", import.meta.url)) },
      beside: { type: "string" },
      doc: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  })
  if (values.disk && values.vhost) throw new Error("--disk and --vhost are two tables: one at a time")
  const rounds = values.rounds === undefined ? null : Number(values.rounds)
  if (rounds !== null && (!Number.isInteger(rounds) || rounds < 1)) {
    throw new Error(`--rounds ${values.rounds}: not a number of rounds`)
  }
  return { ...values, rounds, beside: values.beside === undefined ? null : resolve(values.beside) }
}

type Words = ReturnType<typeof parseWords>

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

/** Everything that was begun is ended, also after an interrupt. */
async function measure(table: Table, words: Words, size: number, milliseconds: number, rounds: number): Promise<Row[]> {
  const folder = mkdtempSync(join(words.folder, "tresor-bench-"))
  let stop = async () => {}
  const interrupted = () =>
    void stop().finally(() => {
      removeFolder(folder)
      process.exit(130)
    })
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted)
  try {
    const run = { rounds, milliseconds, beside: words.beside, stopping: (how: () => Promise<void>) => (stop = how) }
    return await table.measure({ folder, size, progress }, run)
  } finally {
    process.removeListener("SIGINT", interrupted).removeListener("SIGTERM", interrupted)
    removeFolder(folder)
    progress("")
  }
}

/** Between the table's two markers. */
function rewriteDocument({ name }: Table, report: Report): void {
  const docs = new URL("../docs/", import.meta.url)
  const path = new URL("performance.md", docs)
  const text = readFileSync(path, "utf8")
  const begin = `<!-- ${name} figures: written by npm run bench -- --doc -->`
  const [from, to] = [text.indexOf(begin), text.indexOf(`<!-- end of ${name} figures -->`)]
  if (from < 0 || to < from) throw new Error(`docs/performance.md has no place for the ${name} figures`)
  writeFileSync(path, `${text.slice(0, from + begin.length)}\n\n${markdown(report)}\n\n${text.slice(to)}`)
  if (name === CACHED.name) writeFileSync(new URL("performance.svg", docs), svg(report))
}

async function main(words: Words): Promise<void> {
  const table = words.disk ? DISK : words.vhost ? VHOST : CACHED
  const rounds = words.rounds ?? (words.quick ? 3 : table.rounds)
  const size = words.quick ? 256 << 20 : 1 << 30
  const milliseconds = words.quick ? 500 : 2000
  const machine = describeMachine()
  const rows = await measure(table, words, size, milliseconds, rounds)
  const report: Report = {
    title: table.title,
    condition: table.condition,
    points: table.points,
    machine,
    rounds,
    secondsPerRun: milliseconds / 1000,
    mibPerContender: size >> 20,
    rows,
    verdicts: judge(table.goals, table.points, mediansOf(rows)),
  }
  mkdirSync(words.output, { recursive: true })
  const file = (suffix: string) => join(words.output, `${table.name}.${suffix}`)
  writeFileSync(file("json"), `${JSON.stringify(report, null, 2)}\n`)
  writeFileSync(file("html"), html(report))
  writeFileSync(file("svg"), svg(report))
  process.stdout.write(terminalText(report))
  if (words.beside !== null) process.stdout.write(`\n${beside(report, "tresor", BESIDE)}`)
  process.stdout.write(`${file("html")}\n`)
  if (words.doc) rewriteDocument(table, report)
}

let words: Words
try {
  words = parseWords()
} catch (error) {
  fail(2, error)
}
if (words.help) process.stdout.write(HELP)
else await main(words).catch((error) => fail(1, error))

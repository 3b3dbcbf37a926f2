/** The measurement as a table for a terminal, as Markdown, and as a page that needs nothing else. Pure. */
import type { Medians, Verdict } from "./goals.ts"
import type { Machine } from "./machine.ts"
import { advantage, megabytes, type Point } from "./points.ts"
import { median, type Summary } from "./statistics.ts"

export interface Row {
  readonly contender: string
  readonly point: string
  readonly unit: Point["unit"]
  readonly value: Summary
  /** CPU seconds of the server per 10^9 bytes. */
  readonly cpuPerGb: Summary
  /** Of the client, fio. */
  readonly clientCpuPerGb: Summary
  /** Microseconds. */
  readonly p99: Summary
}

export interface Report {
  readonly title: string
  /** What was done before each run: one clause. */
  readonly condition: string
  readonly points: readonly Point[]
  readonly machine: Machine
  readonly rounds: number
  readonly secondsPerRun: number
  readonly mibPerContender: number
  readonly rows: readonly Row[]
  readonly verdicts: readonly Verdict[]
}

export function mediansOf(rows: readonly Row[]): Medians {
  const medians = new Map<string, Map<string, { value: number; cpuPerGb: number }>>()
  for (const { contender, point, value, cpuPerGb } of rows) {
    const points = medians.get(contender) ?? new Map()
    points.set(point, { value: value.median, cpuPerGb: cpuPerGb.median })
    medians.set(contender, points)
  }
  return medians
}

/** The two of the first goal. */
const [OURS, PEER] = ["tresor", "nbdkit file"]

const number = (value: number) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)
const contendersOf = (report: Report) => [...new Set(report.rows.map((row) => row.contender))]
const rowOf = (report: Report, contender: string, point: string) =>
  report.rows.find((row) => row.contender === contender && row.point === point)!

function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ")
  return `${rows.map(line).join("\n")}\n`
}

/** Header and rows: a median and its spread per contender, then the CPU. */
function speedTable(report: Report): string[][] {
  const names = contendersOf(report)
  const cell = (name: string, point: string) => {
    const { value } = rowOf(report, name, point)
    return `${number(value.median)} ±${Math.round(value.spread * 50)}%`
  }
  return [
    ["point", "unit", ...names],
    ...report.points.map((point) => [point.name, point.unit, ...names.map((name) => cell(name, point.name))]),
  ]
}

function cpuTable(report: Report): string[][] {
  const names = contendersOf(report)
  const cpu = (name: string, point: string) => number(rowOf(report, name, point).cpuPerGb.median)
  return [
    ["server CPU s/GB", ...names],
    ...report.points.map((point) => [point.name, ...names.map((name) => cpu(name, point.name))]),
  ]
}

/**
 * Where `ours` moved less than `theirs`: what this machine's CPUs carry of it when its client and it leave none of them idle,
 * and thus how much of the peer's rate they allow. Below 1.00, only less CPU time a byte helps.
 */
export function ceilingTable(report: Report, ours: string, theirs: string): string[][] {
  const { cores } = report.machine
  const rows = report.points.flatMap((point) => {
    const [mine, peer] = [rowOf(report, ours, point.name), rowOf(report, theirs, point.name)]
    const [rate, goal] = [megabytes(point, mine.value.median), megabytes(point, peer.value.median)]
    if (rate === null || goal === null || rate >= goal) return []
    const perGb = mine.cpuPerGb.median + mine.clientCpuPerGb.median
    const most = (cores / perGb) * 1000
    return [[point.name, number(perGb), number(most), number(goal), number(most / goal)]]
  })
  return [["point", "client and server, CPU s/GB", `${cores} CPUs carry, MB/s`, `${theirs}, MB/s`, "ratio"], ...rows]
}

const verdictLine = ({ goal, point, found, wanted, reached }: Verdict) =>
  `${reached ? "reached    " : "not reached"}  ${goal}, ${point}: ${number(found)} (goal ${wanted})`

export function terminalText(report: Report): string {
  const { machine, verdicts } = report
  const reached = verdicts.filter((verdict) => verdict.reached).length
  return [
    `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, ${machine.date}`,
    `${report.rounds} rounds of ${report.secondsPerRun} s, ${report.mibPerContender} MiB each, ${report.condition}; median ± half the spread\n`,
    columns(speedTable(report)),
    columns(cpuTable(report)),
    ...verdicts.map(verdictLine),
    `\n${reached} of ${verdicts.length} goals reached\n`,
  ].join("\n")
}

/** Of two contenders: ratios of the medians, and of each round's two runs, which lie next to each other in time. */
export function beside(report: Report, ours: string, theirs: string): string {
  const lines = report.points.map((point) => {
    const [a, b] = [rowOf(report, ours, point.name), rowOf(report, theirs, point.name)]
    const rounds = a.value.samples.map((value, round) => advantage(point, value, b.value.samples[round]!))
    return [
      point.name,
      number(advantage(point, a.value.median, b.value.median)),
      number(median(rounds)),
      number(a.cpuPerGb.median / b.cpuPerGb.median),
    ]
  })
  return columns([[`${ours} / ${theirs}`, "medians", "by rounds", "CPU s/GB"], ...lines])
}

const markdownRows = (rows: readonly (readonly string[])[]) => {
  const line = (row: readonly string[]) => `| ${row.join(" | ")} |`
  const [head, ...body] = rows
  return [line(head!), `|---|${"--:|".repeat(head!.length - 1)}`, ...body.map(line)].join("\n")
}

/** For docs/performance.md, between its markers. */
export function markdown(report: Report): string {
  const { machine, verdicts } = report
  const missed = verdicts.filter((verdict) => !verdict.reached)
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name}: ${version}`)
  const names = contendersOf(report)
  const ceilings = names.includes(OURS) && names.includes(PEER) ? ceilingTable(report, OURS, PEER) : []
  const goals =
    missed.length === 0
      ? [`All ${verdicts.length} goals reached.`]
      : [
          `${verdicts.length - missed.length} of ${verdicts.length} goals reached. Not reached:\n`,
          markdownRows([
            ["goal", "point", "found", "wanted"],
            ...missed.map(({ goal, point, found, wanted }) => [goal, point, number(found), wanted]),
          ]),
        ]
  return [
    `Measured ${machine.date.slice(0, 10)} on ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel};`,
    `${report.rounds} rounds of ${report.secondsPerRun} s, ${report.mibPerContender} MiB per contender, ${report.condition}; median ± half the spread.`,
    `${versions.join("; ")}.\n`,
    markdownRows(speedTable(report)),
    "",
    markdownRows(cpuTable(report)),
    "",
    ...goals,
    ...(ceilings.length < 2
      ? []
      : [
          `\nWhere ${OURS} moves less than ${PEER}, what the CPUs allow when none of them is ever idle:\n`,
          markdownRows(ceilings),
        ]),
  ].join("\n")
}

const escaped = (text: string) => text.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`)

const COLOURS = ["#0b6e4f", "#6fb98f", "#5b6c8f", "#b08d57", "#a65e5e", "#7a7a7a"]
const BAR = 18
const LEFT = 170
const WIDTH = 900

/** One bar per contender and point, scaled to the point's largest; ours compared in words. */
export function svg(report: Report): string {
  const names = contendersOf(report)
  const group = names.length * BAR + 42
  const parts = report.points.map((point, index) => {
    const top = 20 + index * group
    const rows = names.map((name) => rowOf(report, name, point.name).value.median)
    const largest = Math.max(...rows)
    const less = point.unit === "us" ? " (less is better)" : ""
    const bars = rows.map((value, i) => {
      const y = top + 10 + i * BAR
      const width = (value / largest) * (WIDTH - LEFT - 220)
      const ratio = i === 0 ? "" : `, tresor ${number(advantage(point, rows[0]!, value))} x`
      return [
        `<text x="${LEFT - 8}" y="${y + 12}" text-anchor="end">${escaped(names[i]!)}</text>`,
        `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 4}" fill="${COLOURS[i % COLOURS.length]}"/>`,
        `<text x="${(LEFT + width + 6).toFixed(1)}" y="${y + 12}">${number(value)} ${point.unit}${ratio}</text>`,
      ].join("")
    })
    return `<text x="0" y="${top}" font-weight="bold">${point.name}, ${point.unit}${less}</text>${bars.join("")}`
  })
  const height = 20 + report.points.length * group
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(report.title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n")
}

function htmlTable(rows: readonly (readonly string[])[]): string {
  const line = (row: readonly string[], tag: string) =>
    `<tr>${row.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`
  const [head, ...body] = rows
  return `<table>${line(head!, "th")}${body.map((row) => line(row, "td")).join("\n")}</table>`
}

export function html(report: Report): string {
  const { machine, verdicts } = report
  const goals = verdicts.map(({ goal, point, found, wanted, reached }) => [
    reached ? "reached" : "not reached",
    goal,
    point,
    number(found),
    wanted,
  ])
  const style =
    "body{font:14px sans-serif;max-width:70em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;margin:1em 0}" +
    "td,th{border:1px solid #ccc;padding:.3em .6em;text-align:right}td:first-child,th:first-child{text-align:left}"
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name}: ${version}`)
  return [
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escaped(report.title)}</title><style>${style}</style>`,
    `<h1>${escaped(report.title)}</h1>`,
    `<p>${escaped(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, ${machine.date}. ${versions.join("; ")}.`)}</p>`,
    `<p>${report.rounds} rounds of ${report.secondsPerRun} s, ${report.mibPerContender} MiB per contender, ${escaped(report.condition)}; contenders alternate. Median ± half the spread.</p>`,
    svg(report),
    "<h2>Speed</h2>",
    htmlTable(speedTable(report)),
    "<h2>CPU of the server</h2>",
    htmlTable(cpuTable(report)),
    "<h2>Goals</h2>",
    htmlTable([["", "goal", "point", "found", "wanted"], ...goals]),
    "</html>\n",
  ].join("\n")
}

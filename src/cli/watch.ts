/** `tresor list --watch`: what the open volumes do, again and again, until Ctrl-C or a closed pipe. */
import { setTimeout as sleep } from "node:timers/promises"
import { formatSize } from "../base/size.ts"
import { nothingOpen } from "./messages.ts"
import { openVolumes } from "./open-volumes.ts"
import { out } from "./output/output.ts"
import { type Rates, ratesOf } from "./rates.ts"
import { table } from "./table.ts"

/** Home, and clear to the end: ECMA-48 CUP and ED. */
const FRAME = Buffer.from("\x1b[H\x1b[J")

const count = (value: number | null): string =>
  value === null ? "-" : value < 10 ? value.toFixed(1) : value.toFixed(0)
const bytes = (value: number | null): string => (value === null ? "-" : `${formatSize(Math.round(value))}/s`)

function shown(rates: readonly Rates[]): string {
  if (rates.length === 0) return `${nothingOpen}\n`
  const several = rates.some(({ user }) => user !== process.getuid!())
  const rows = rates.map((each) => [
    each.name,
    ...(several ? [String(each.user)] : []),
    each.state,
    ...[count(each.reads), bytes(each.bytesRead), count(each.writes), bytes(each.bytesWritten)],
    ...[String(each.pending), String(each.errors)],
  ])
  const heads = ["NAME", ...(several ? ["USER"] : []), "STATE", "READS/s", "READ", "WRITES/s", "WRITTEN"]
  return table([...heads, "PENDING", "ERRORS"], rows, out.columns)
}

/** One table, or with `json` one line, each `seconds`. */
export async function watch(seconds: number, { json }: { readonly json?: true }): Promise<void> {
  let before = await openVolumes()
  let at = performance.now()
  while (out.lost === null) {
    await sleep(seconds * 1000)
    const after = await openVolumes()
    const now = performance.now()
    const rates = ratesOf(before, after, (now - at) / 1000)
    ;[before, at] = [after, now]
    if (json === true) {
      out.json(rates)
      continue
    }
    if (out.isTerminal) out.bytes(FRAME)
    out.text(`${shown(rates)}${out.isTerminal ? "" : "\n"}`)
  }
}

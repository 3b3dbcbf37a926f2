/**
 * Log lines: JSON with a syslog priority in front, as journald reads standard
 * error. Ids, sizes and states only; never data, never secrets.
 */
import { writeSync } from "node:fs"
import { configureSync, getLogger, type Logger, type LogRecord } from "@logtape/logtape"
import { visibleJson } from "../base/visible.ts"

/** sd-daemon(3). */
const PRIORITY: Readonly<Record<LogRecord["level"], number>> = {
  fatal: 2,
  error: 3,
  warning: 4,
  info: 6,
  debug: 7,
  trace: 7,
}

export function formatRecord(record: LogRecord): string {
  const line = {
    time: new Date(record.timestamp).toISOString(),
    level: record.level,
    area: record.category.slice(1).join("."),
    message: record.message.map(String).join(""),
    ...record.properties,
  }
  const text = JSON.stringify(line, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value))
  return `<${PRIORITY[record.level]}>${visibleJson(text)}\n`
}

/** Lines are written at once: the last one before a crash is the one that matters. */
export function startLog(fd = 2): Logger {
  configureSync({
    reset: true,
    sinks: { lines: (record) => void writeSync(fd, formatRecord(record)) },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["lines"] },
      {
        category: "tresor",
        lowestLevel: process.env["TRESOR_DEBUG"] === undefined ? "info" : "debug",
        sinks: ["lines"],
      },
    ],
  })
  return getLogger(["tresor", "daemon"])
}

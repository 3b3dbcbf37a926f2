/**
 * The log: entries of the journal where standard error leads there, else lines of JSON with a syslog priority in front.
 * Ids, sizes and states only; never data, never secrets.
 */
import { fstatSync, writeSync } from "node:fs"
import { configureSync, getLogger, type Logger, type LogRecord } from "@logtape/logtape"
import { visibleJson } from "../base/visible.ts"
import { sendDatagram } from "../native/addon.ts"
import { isJournal, JOURNAL_SOCKET, journalEntry } from "./journal.ts"

/** sd-daemon(3). */
const PRIORITY: Readonly<Record<LogRecord["level"], number>> = {
  fatal: 2,
  error: 3,
  warning: 4,
  info: 6,
  debug: 7,
  trace: 7,
}

function formatRecord(record: LogRecord): string {
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

export interface Log extends Logger {
  /** From here on the journal's entries name the volume. */
  about(volume: string): void
}

/**
 * Lines are written at once: the last one before a crash is the one that matters. `journal`: the socket to send to; what
 * it does not take at once goes to `fd`, which leads there too.
 */
export function startLog(
  fd = 2,
  journal = isJournal(process.env["JOURNAL_STREAM"], fstatSync(fd, { bigint: true })) ? JOURNAL_SOCKET : null,
): Log {
  let volume: string | null = null
  const write = (record: LogRecord): void => {
    const sent = journal !== null && sendDatagram(journal, journalEntry(record, PRIORITY[record.level], volume))
    if (!sent) writeSync(fd, formatRecord(record))
  }
  configureSync({
    reset: true,
    sinks: { lines: write },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["lines"] },
      {
        category: "tresor",
        lowestLevel: process.env["TRESOR_DEBUG"] === undefined ? "info" : "debug",
        sinks: ["lines"],
      },
    ],
  })
  return Object.assign(getLogger(["tresor", "daemon"]), {
    about: (name: string) => {
      volume = name
    },
  })
}

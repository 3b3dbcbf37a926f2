/**
 * Log records as entries of the journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a text for people,
 * and each fact as a field. Pure.
 */
import type { LogRecord } from "@logtape/logtape"
import { visibleLine } from "../base/visible.ts"

export const JOURNAL_SOCKET = "/run/systemd/journal/socket"

/** MESSAGE_ID of what happens to a volume, by the record's message; docs/operation.md has the same list. */
export const MESSAGE_IDS: Readonly<Record<string, string>> = {
  ready: "28858489650b4b07a3da920bb629d388",
  state: "673a3899273d46b98c485116b1b0140a",
  closing: "f6c2d553edf34fc58204924512af25d4",
  closed: "b9b4a85f063c466b85f883a36108248e",
  "closes when the last client leaves": "457c2d522df846d5a91d355919923241",
  "goes on": "17c06eedc71e4d6f8d059bf1ff500d05",
  "a call failed": "dcd8e0af97cb42d980a05b8d01360ceb",
  "data may be lost": "658318ae3eab4daba86ca94cad9f0c6c",
  "the enclave is lost, and with it the keys": "7373c8567a9845b081fc3516b0a4f3f5",
  "cannot start": "7526df745c994e699def97d727a14f82",
}

/** JOURNAL_STREAM (systemd.exec(5)) names the device and inode of the stream that goes to the journal. */
export const isJournal = (stream: string | undefined, { dev, ino }: { readonly dev: bigint; readonly ino: bigint }) =>
  stream === `${dev}:${ino}`

const shown = (value: unknown): string =>
  visibleLine(
    typeof value === "object"
      ? JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? String(each) : each))
      : String(value),
  )

const fieldOf = (name: string): string =>
  `TRESOR_${name
    .replace(/[A-Z]/g, (letter) => `_${letter}`)
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, "_")}`.slice(0, 64)

/** "state: unlocked, keyslot 0": facts that say by themselves what they are have no name. */
function sentence(message: string, facts: readonly (readonly [string, unknown])[]): string {
  const bare = ["reason", "why", message]
  const parts = facts.map(([name, value]) => (bare.includes(name) ? shown(value) : `${name} ${shown(value)}`))
  return parts.length === 0 ? message : `${message}: ${parts.join(", ")}`
}

/** `volume`: its name, once it is known. No value has a line break, so that each field is one line. */
export function journalEntry(record: LogRecord, priority: number, volume: string | null): string {
  const message = record.message.map(String).join("")
  const facts = Object.entries(record.properties).filter(([, value]) => value !== null && value !== undefined)
  const id = MESSAGE_IDS[message]
  const text = visibleLine(sentence(message, facts))
  const fields: readonly (readonly [string, string])[] = [
    ["MESSAGE", volume === null ? text : `${volume}: ${text}`],
    ["PRIORITY", String(priority)],
    ["SYSLOG_IDENTIFIER", "tresord"],
    ...(id === undefined ? [] : [["MESSAGE_ID", id] as const]),
    ...(volume === null ? [] : [["TRESOR_VOLUME", volume] as const]),
    ["TRESOR_AREA", record.category.slice(1).join(".")],
    ...facts.map(([name, value]) => [fieldOf(name), shown(value)] as const),
  ]
  return fields.map(([name, value]) => `${name}=${value}\n`).join("")
}

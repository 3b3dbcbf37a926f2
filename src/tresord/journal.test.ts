import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { isJournal, journalEntry, MESSAGE_IDS } from "./journal.ts"

const record = (message: string, properties: Record<string, unknown>) => ({
  ...{ category: ["tresor", "daemon"], level: "info" as const, message: [message], rawMessage: message },
  ...{ timestamp: 0, properties },
})
const entry = (message: string, properties: Record<string, unknown>, volume: string | null = "work") =>
  journalEntry(record(message, properties), 6, volume).split("\n")

test("an entry has a text for people, and its facts as fields", () => {
  assert.deepEqual(entry("state", { state: "unlocked", keyslot: 0, why: null }), [
    "MESSAGE=work: state: unlocked, keyslot 0",
    "PRIORITY=6",
    "SYSLOG_IDENTIFIER=tresord",
    `MESSAGE_ID=${MESSAGE_IDS["state"]}`,
    "TRESOR_VOLUME=work",
    "TRESOR_AREA=daemon",
    "TRESOR_STATE=unlocked",
    "TRESOR_KEYSLOT=0",
    "",
  ])
})

test("an entry before the volume has a name, and one without an id", () => {
  const lines = entry(
    "keyslots were added or removed by another program",
    { slotsAdded: [1, 2], size: { n: 5n } },
    null,
  )
  assert.equal(lines[0], 'MESSAGE=keyslots were added or removed by another program: slotsAdded [1,2], size {"n":"5"}')
  assert.ok(lines.includes("TRESOR_SLOTS_ADDED=[1,2]"), lines.join("\n"))
  assert.ok(!lines.some((line) => /^(MESSAGE_ID|TRESOR_VOLUME)=/.test(line)))
})

test("no text makes a field of its own, nor a name that the journal refuses", () => {
  const lines = entry("cannot start", { reason: "one\nPRIORITY=0", "a b-c": "x\ny", module: "\u202e" })
  assert.equal(lines.filter((line) => line.startsWith("PRIORITY=")).length, 1)
  for (const line of lines.slice(0, -1)) assert.match(line, /^[A-Z][A-Z0-9_]{0,63}=/)
  assert.ok(lines.includes("TRESOR_A_B_C=x\\ny"), lines.join("\n"))
})

test("standard error leads to the journal when it is the stream that systemd named", () => {
  assert.equal(isJournal("8:12345", { dev: 8n, ino: 12345n }), true)
  assert.equal(isJournal("8:12346", { dev: 8n, ino: 12345n }), false)
  assert.equal(isJournal(undefined, { dev: 8n, ino: 12345n }), false)
})

test("message ids are distinct, in docs/operation.md, and of messages that tresord writes", () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")
  const [doc, main] = [read("../../docs/operation.md"), read("main.ts")]
  const ids = Object.entries(MESSAGE_IDS)
  assert.equal(new Set(ids.map(([, id]) => id)).size, ids.length)
  for (const [message, id] of ids) {
    assert.match(id, /^[0-9a-f]{32}$/)
    assert.ok(doc.includes(`| \`${id}\` | ${message} |`), message)
    assert.ok(main.includes(`("${message}"`), message)
  }
})

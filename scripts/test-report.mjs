/**
 * A reporter inside a test file's process: one word for each test that is over.
 * Skipped and to-do tests did not show what they claim: they count as failed, but
 * for those on data that is not ours to publish.
 *
 * It also ends the process when the tests are over and something (a socket, a
 * timer, a child) keeps the event loop, and names that: without it the file would
 * take until its limit.
 */
import { inspect } from "node:util"

const PATIENCE_MS = 5000

function word({ type, data }) {
  if (data.skip !== undefined) return data.skip === "needs ../shared/sgx-data" ? "leftOut" : "failed"
  return type === "test:pass" && data.todo === undefined ? "passed" : "failed"
}

export default async function* report(events) {
  let open = 0
  let timer
  const errors = []
  for await (const event of events) {
    const { type, data } = event
    if (type === "test:pass" || type === "test:fail") {
      if (data.details.type !== "suite") yield `${word(event)}\n`
      if (type === "test:fail") errors.push(`✖ ${data.name}\n${inspect(data.details.error.cause)}\n`)
    }
    if (data?.nesting !== 0) continue
    if (type === "test:enqueue") open++
    else if (type === "test:complete") open--
    else continue
    clearTimeout(timer)
    if (open > 0) continue
    timer = setTimeout(() => {
      const kept = process.getActiveResourcesInfo().join(", ")
      process.stderr.write(`${errors.join("")}✖ the tests are over, and the process is kept by: ${kept}\n`)
      process.exit(1)
    }, PATIENCE_MS).unref()
  }
}

/**
 * A reporter inside a test file's process: a line of JSON for each test that is over, { outcome } and, where it
 * failed, its name and error. Skipped and to-do tests did not show what they claim: they count as
 * failed, but for those on data that is not ours to publish.
 *
 * It also ends the process when the tests are over and something (a socket, a
 * timer, a child) keeps the event loop, and names that: without it the file would
 * take until its limit.
 */
import { inspect } from "node:util"
import { firstLines } from "./test-failures.mjs"

const PATIENCE_MS = 5000

function outcomeOf({ type, data }) {
  if (data.skip !== undefined) return data.skip === "needs ../shared/sgx-data" ? "leftOut" : "failed"
  return type === "test:pass" && data.todo === undefined ? "passed" : "failed"
}

function errorOf({ type, data }) {
  if (type === "test:fail") return inspect(data.details.error.cause ?? data.details.error)
  return data.skip === undefined ? "the test is to do" : `the test was skipped: ${data.skip}`
}

function resultOf(event) {
  const outcome = outcomeOf(event)
  if (outcome !== "failed") return { outcome }
  return { outcome, name: event.data.name, error: firstLines(errorOf(event)) }
}

export default async function* report(events) {
  let open = 0
  let timer
  const errors = []
  for await (const event of events) {
    const { type, data } = event
    if (type === "test:pass" || type === "test:fail") {
      if (data.details.type !== "suite") yield `${JSON.stringify(resultOf(event))}\n`
      if (type === "test:fail") errors.push(`✖ ${data.name}\n${errorOf(event)}\n`)
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

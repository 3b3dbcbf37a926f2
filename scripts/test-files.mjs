/**
 * Runs node:test files, each in a process of its own that is killed, with all it
 * started, when the file takes longer than its limit: node --test waits for ever
 * for a file whose event loop never empties.
 */
import { spawn } from "node:child_process"
import { mkdirSync, readFileSync, rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { lastLines } from "./test-failures.mjs"

/** Of sources without their types and of V8's code for them: half the time of a short test file. */
const CACHE = { NODE_COMPILE_CACHE: resolve("build/compile-cache") }

const RUNNING = new Set()
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    for (const child of RUNNING) killGroup(child)
    process.exit(1)
  })
}

function killGroup(child) {
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch {
    // Nothing of it is left.
  }
}

/** What test-report.mjs has written. A process that was killed may have left the last line without its end. */
function count(file, text) {
  const result = { passed: 0, failed: 0, leftOut: 0, failures: [] }
  for (const line of text.split("\n").slice(0, -1)) {
    const { outcome, name, error } = JSON.parse(line)
    result[outcome]++
    if (outcome === "failed") result.failures.push({ place: file, name, error })
  }
  return result
}

async function runFile(file, { seconds, fileSeconds, environment = {} }) {
  const started = Date.now()
  mkdirSync("build", { recursive: true })
  const report = join("build", `tests-${process.pid}-${file.replaceAll("/", "-")}`)
  const child = spawn(
    process.execPath,
    [
      `--test-timeout=${seconds * 1000}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      "--test-reporter=./scripts/test-report.mjs",
      `--test-reporter-destination=${report}`,
      file,
    ],
    { stdio: ["ignore", "pipe", "pipe"], detached: true, env: { ...CACHE, ...process.env, ...environment } },
  )
  RUNNING.add(child)
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text
    })
  }
  let late = false
  const timer = setTimeout(() => {
    late = true
    killGroup(child)
  }, fileSeconds * 1000)
  const code = await new Promise((resolve) => {
    child.on("error", (error) => {
      output += `${error.message}\n`
      resolve(127)
    })
    // Not "close": what a test left running may hold the pipes.
    child.on("exit", (status) => setImmediate(resolve, status))
  })
  clearTimeout(timer)
  RUNNING.delete(child)
  killGroup(child)
  let text = ""
  try {
    text = readFileSync(report, "utf8")
  } catch {
    // It ended before its first line.
  }
  rmSync(report, { force: true })
  const result = count(file, text)
  if (late) output += `✖ ${file} was stopped: it took longer than ${fileSeconds} s\n`
  const ended = code !== 0 || result.passed + result.leftOut === 0
  if (code === 0 && ended) output += `✖ ${file} ran no test\n`
  output = withoutTotals(output)
  if (result.failed === 0 && ended) result.failed = 1
  if (late || (ended && result.failures.length === 0)) {
    result.failures.push({ place: file, name: file, error: lastLines(output) })
  }
  process.stdout.write(output)
  return { ...result, seconds: (Date.now() - started) / 1000 }
}

/** The reporter's own sums of one file say nothing about the run. */
const withoutTotals = (output) =>
  output.replace(/^\u2139 (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+\n/gm, "")

/**
 * `concurrency` files at once. Returns how many tests passed, failed, and were left out for want of data, those that
 * failed as { place, name, error }, and the seconds each file took.
 */
export async function runTestFiles(files, { concurrency, ...limits }) {
  const total = { passed: 0, failed: 0, leftOut: 0 }
  const times = []
  const failures = []
  const waiting = [...files]
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const result = await runFile(file, limits)
      for (const each of Object.keys(total)) total[each] += result[each]
      failures.push(...result.failures)
      times.push({ file, seconds: result.seconds })
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  return { ...total, failures, times }
}

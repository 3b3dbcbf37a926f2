#!/usr/bin/env node
/**
 * The test command: sets up what it needs, builds, runs, sums up.
 *
 *   npm test                  everything
 *   npm run test:unit         static checks, pure code, enclave sources on the host (under a minute)
 *   npm run test:integration  against cryptsetup, qemu, libnbd, fio, nbdkit and the kernel
 *   npm run test:vm           the kernel module and ublk in virtual machines
 *   npm run test:sgx          Tresor and Linux's SGX selftest on Linux's SGX driver, in an emulated machine with SGX
 *   npm run test:package      the Debian packages, installed in Debian roots and booted, as root; `npm test` has it where CI is set
 *   npm run test:ceph         leases and failures of a Ceph cluster of one node, as root; `npm test` has it where CI is set
 *
 * Where CI is not set, `npm test` leaves the virtual machines out, and says so, when they cannot be had: they boot Debian
 * 12's kernel, and the one with SGX is built from its source of QEMU. Closes with each test that failed and its error,
 * then one line "N passed, N failed"; exits 1 when anything failed or nothing ran.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"
import { ensurePackages, hasClangFormat, lackingPackages } from "./packages.mjs"
import { isPinned, pinPath, rerunPinned, root } from "./runtime.mjs"
import { describeFailures, lastLines } from "./test-failures.mjs"
import { runTestFiles } from "./test-files.mjs"

process.chdir(root)
if (!isPinned()) {
  // The packages bring the Node that runs the tests.
  if (spawnSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" }).status !== 0) process.exit(1)
  rerunPinned()
}
pinPath()
const wanted =
  process.argv[2] === undefined
    ? ["unit", "integration", "vm", "sgx", ...(process.env.CI ? ["ceph", "package"] : [])]
    : [process.argv[2]]
/** Left out, and named, where it cannot be had. */
const optional = process.argv[2] === undefined && !process.env.CI ? ["vm", "sgx"] : []
const filter = process.argv.slice(3)

let passed = 0
let failed = 0
/** Tests on data that is not ours to publish. */
let leftOut = 0
/** What is left out and why, a line each. */
const without = []
const begun = Date.now()
/** { file or step, seconds } of everything that ran. */
const times = []
/** { place, name, error } of everything that failed. */
const failures = []

function testFiles(directory, skip = () => false) {
  const found = []
  const visit = (path) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const child = join(path, entry.name)
      if (skip(child)) continue
      if (entry.isDirectory()) {
        if (entry.name !== "build" && entry.name !== "node_modules") visit(child)
      } else if (entry.name.endsWith(".test.ts")) {
        found.push(relative(root, child))
      }
    }
  }
  if (existsSync(directory)) visit(directory)
  return found.sort().filter((file) => filter.length === 0 || filter.some((word) => file.includes(word)))
}

/** Runs a command as one test. Where `optional` names a suite, that is left out when the command fails. */
async function step(name, command, args, { seconds = 600, environment = {}, optional = null } = {}) {
  const started = Date.now()
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
    detached: true,
  })
  let output = ""
  child.stdout.on("data", (chunk) => {
    output += chunk
  })
  child.stderr.on("data", (chunk) => {
    output += chunk
  })
  const timer = setTimeout(() => {
    output += `\nstopped after ${seconds} s\n`
    process.kill(-child.pid, "SIGKILL")
  }, seconds * 1000)
  const code = await new Promise((resolve) => {
    child.on("error", (error) => {
      output += error.message
      resolve(127)
    })
    child.on("close", resolve)
  })
  clearTimeout(timer)
  const ok = code === 0
  if (!ok && optional !== null) {
    without.push(`${optional}: ${output.trimEnd().split("\n").at(-1)}`)
    return false
  }
  if (ok) passed++
  else failed++
  const took = (Date.now() - started) / 1000
  times.push({ file: name, seconds: took })
  process.stdout.write(`${ok ? "✔" : "✖"} ${name} (${took.toFixed(1)} s)\n`)
  if (!ok) {
    failures.push({ place: name, name, error: lastLines(output) })
    process.stdout.write(`${output.split("\n").slice(-60).join("\n")}\n`)
  }
  return ok
}

/** Runs node:test files; each test counts. Limits: `seconds` for a test, `fileSeconds` for all of a file. */
async function nodeTests(files, limits) {
  const result = await runTestFiles(files, limits)
  passed += result.passed
  failed += result.failed
  leftOut += result.leftOut
  times.push(...result.times)
  failures.push(...result.failures)
}

if (!ensurePackages(wanted.filter((suite) => !optional.includes(suite)))) process.exit(1)
for (const suite of optional) {
  if (lackingPackages([suite]).length === 0 || (process.getuid() === 0 && ensurePackages([suite]))) continue
  without.push(`${suite}: missing packages: ${lackingPackages([suite]).join(" ")}`)
  wanted.splice(wanted.indexOf(suite), 1)
}
const built = spawnSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" })
if (built.status !== 0) process.exit(1)

const bin = (name) => join("node_modules/.bin", name)

/** Some minutes of compiling, the first time, beside tests that mostly wait. */
const sgxMachine = wanted.includes("sgx")
  ? step("sgx: the machine, built from Debian's QEMU", process.execPath, ["scripts/sgx-machine.mjs"], {
      seconds: 3600,
      optional: optional.includes("sgx") ? "sgx" : null,
    })
  : Promise.resolve(false)
/** Test files whose machine or root other archives than this system's have: left out, and named, where it cannot be had. */
const elsewhere = new Map()
for (const [suite, file, what, script] of [
  ["vm", "newest", "Debian's newest kernel", "newest-kernel"],
  ["package", "ubuntu", "a root of Ubuntu 24.04", "ubuntu-root"],
]) {
  const path = join("test", suite, `${file}.test.ts`)
  if (!wanted.includes(suite) || !testFiles(join("test", suite)).includes(path)) continue
  const options = { optional: path, seconds: 1200 }
  elsewhere.set(path, step(`${suite}: ${what}, in the cache`, process.execPath, [`scripts/${script}.mjs`], options))
}
if (wanted.includes("unit")) {
  const checks = async () => {
    if (filter.length > 0) return
    await step("types: tsc --noEmit", bin("tsc"), ["--noEmit"])
    await step("style: biome check", bin("biome"), ["check", "--error-on-warnings"])
    if (hasClangFormat()) await step("style: clang-format", process.execPath, ["scripts/format-c.mjs"])
    else without.push("style: clang-format: this distribution has no clang-format-14")
    await step("enclave: image holds nothing SGX forbids", "make", ["-s", "-C", "enclave", "check"])
    await step("enclave: crypto against OpenSSL and libargon2", "make", ["-s", "-C", "enclave/test", "check", "PART=8"])
  }
  const files = ["src", "bench", "kernel"].flatMap((directory) => testFiles(directory))
  // On two processors: a good part of their time is spent waiting.
  await Promise.all([checks(), nodeTests(files, { concurrency: 3, seconds: 120, fileSeconds: 300 })])
}
if (wanted.includes("integration")) {
  const checks = async () => {
    if (filter.length > 0) return
    await step("enclave: operations and 110,000 hostile calls under ASan and UBSan", "make", [
      "-s",
      "-C",
      "enclave",
      "test",
    ])
    await step("enclave: every operation under libFuzzer", "make", [
      "-s",
      "-C",
      "enclave/test/host",
      "fuzz",
      "SECONDS=2",
    ])
    await step("enclave: nothing depends on a secret, as valgrind sees it", "make", ["-s", "-C", "enclave/test", "ct"])
    await step("enclave: crypto under ASan and UBSan", "make", ["-s", "-C", "enclave/test", "asan"])
    await step("enclave: crypto against OpenSSL and libargon2, in full", "make", ["-s", "-C", "enclave/test", "check"])
    await step("addon: enclaves of both backends under ASan and UBSan", "make", ["-s", "-C", "addon", "asan"])
  }
  // What the unit tests try in part.
  const full = testFiles("src").filter((file) => readFileSync(file, "utf8").includes("testing/runs.ts"))
  const limits = { seconds: 900, fileSeconds: 1800 }
  const fullTests = () => nodeTests(full, { ...limits, concurrency: 1, environment: { TRESOR_TEST_RUNS: "full" } })
  // Most of a file's time is spent waiting: for disks, timeouts, other programs.
  const files = testFiles("test", (path) =>
    ["vm", "ceph", "sgx", "package"].some((suite) => path.startsWith(join("test", suite))),
  )
  await Promise.all([checks().then(fullTests), nodeTests(files, { ...limits, concurrency: 2 })])
}
/** Suites that machines of their own make long; the cluster's waits for timeouts most of the time. */
const machines = async (suites, concurrency) => {
  const files = []
  for (const file of suites.filter((each) => wanted.includes(each)).flatMap((suite) => testFiles(join("test", suite))))
    if ((await elsewhere.get(file)) ?? true) files.push(file)
  await nodeTests(files, { concurrency, seconds: 1800, fileSeconds: 5400 })
}
const emulated = (await sgxMachine) ? ["sgx", "vm"] : ["vm"]
await Promise.all([machines(emulated, 2), machines(["ceph"], 1).then(() => machines(["package"], 1))])

for (const each of without) process.stdout.write(`Left out: ${each}\n`)
if (leftOut > 0) {
  process.stdout.write(
    `${leftOut} tests on SGX data of Intel and Fortanix were left out: it is not in ../shared/sgx-data\n`,
  )
}
const slowest = times.sort((a, b) => b.seconds - a.seconds).slice(0, 20)
const rows = slowest.map(({ file, seconds }) => `${seconds.toFixed(1).padStart(8)} s  ${file}`)
const whole = `${((Date.now() - begun) / 60_000).toFixed(1)} min, of which the slowest:`
process.stdout.write(`${[whole, ...rows].join("\n")}\n${describeFailures(failures)}`)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)

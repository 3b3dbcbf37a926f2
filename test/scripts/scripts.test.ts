/** The test command itself: what is missing is named, and nothing runs for ever. */
import assert from "node:assert/strict"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { after, test } from "node:test"
import { chooseVersion } from "../../scripts/sgx-machine.mjs"
import { describeFailures, lastLines } from "../../scripts/test-failures.mjs"
import { root, run, until } from "../cli/harness.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-scripts-"))
after(() => rmSync(folder, { recursive: true, force: true }))

/** What is said to be missing when `tool` is a script of ours. */
async function lacking(tool: string, script: string): Promise<string[]> {
  const bin = mkdtempSync(join(folder, "bin-"))
  const real = (await run("sh", ["-c", `command -v ${tool}`])).stdout.trim()
  writeFileSync(join(bin, tool), `#!/bin/sh\n${script.replaceAll("REAL", real)}\n`)
  chmodSync(join(bin, tool), 0o755)
  const program = `import { lackingPackages } from ${JSON.stringify(join(root, "scripts/packages.mjs"))}
    console.log(JSON.stringify(lackingPackages(["integration"])))`
  const { stdout, stderr } = await run(process.execPath, ["--input-type=module", "-e", program], {
    env: { PATH: `${bin}:${process.env["PATH"]}` },
  })
  assert.notEqual(stdout, "", stderr)
  return JSON.parse(stdout)
}

test("a clang without its runtime is found out, and the package named with clang's own version", async () => {
  const script = `case "$*" in
    --version) echo "Debian clang version 19.1.7" ;;
    *fsanitize*) exit 1 ;;
    *) exec REAL "$@" ;;
  esac`
  assert.deepEqual(await lacking("clang", script), ["libclang-rt-19-dev"])
})

test("a tool that is in another package there is asked for by that package; a style that cannot be checked is no lack", async () => {
  const bin = mkdtempSync(join(folder, "bin-"))
  const tool = (name: string, script: string) =>
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  const none = "clang-format-14|nbdfuse"
  tool("apt-cache", `case "$2" in ${none}) c='(none)' ;; *) c=1.0 ;; esac; echo "  Candidate: $c"`)
  tool("apt-get", `echo "$@" >>${join(bin, "asked")}`)
  tool("clang-format-14", "exit 1")
  const program = `import { ensurePackages, lackingPackages } from ${JSON.stringify(join(root, "scripts/packages.mjs"))}
    const lacking = lackingPackages(["unit"])
    process.getuid = () => 0
    console.log(JSON.stringify({ lacking, ensured: ensurePackages(["integration"]) }))`
  const env = { PATH: `${bin}:/bin-of-nothing`, CI: undefined }
  const { stdout, stderr } = await run(process.execPath, ["--input-type=module", "-e", program], { env })
  assert.ok(!stdout.includes('"clang-format-14"'), stdout)
  assert.match(stdout, /"ensured":false/)
  const asked = readFileSync(join(bin, "asked"), "utf8")
  for (const text of [asked, stderr]) assert.match(text, /install [^\n]*libnbd-bin/)
  assert.doesNotMatch(asked + stderr, /nbdfuse|clang-format/)
})

test("the SGX machine is made of the installed version's source, else of the newest 7.2 that Debian still has", () => {
  const offered = ["1:7.2+dfsg-7+deb12u9", "1:7.2+dfsg-7+deb12u18", "1:10.0.2+ds-1"]
  assert.equal(chooseVersion("1:7.2+dfsg-7+deb12u9", offered), "1:7.2+dfsg-7+deb12u9")
  assert.equal(chooseVersion("1:7.2+dfsg-7+deb12u17", offered), "1:7.2+dfsg-7+deb12u18")
  assert.throws(
    () => chooseVersion("1:7.2+dfsg-7", ["1:10.0.2+ds-1"]),
    /no source of QEMU 7\.2 \(it has: 1:10\.0\.2\+ds-1\)/,
  )
})

test("the SGX machine is refused where apt has no lists and where QEMU is another version, with the way out", async () => {
  const refusal = async (installed: string) => {
    const bin = mkdtempSync(join(folder, "bin-"))
    for (const [tool, says] of [
      ["dpkg-query", installed],
      ["apt-get", ""],
    ] as const) {
      writeFileSync(join(bin, tool), `#!/bin/sh\necho "${says}"\n`)
      chmodSync(join(bin, tool), 0o755)
    }
    const program = `import { sgxMachine } from ${JSON.stringify(join(root, "scripts/sgx-machine.mjs"))}
      try { sgxMachine() } catch (error) { console.log(error.message) }`
    const env = { PATH: `${bin}:${process.env["PATH"]}`, XDG_CACHE_HOME: join(folder, "cache") }
    return (await run(process.execPath, ["--input-type=module", "-e", program], { env })).stdout
  }
  assert.match(await refusal("1:7.2+dfsg-7"), /^apt knows no package of Debian's; as root: apt-get update$/m)
  assert.match(await refusal("1:10.0.2+ds-1"), /is for QEMU 7\.2, Debian 12's, and this machine has 1:10\.0\.2\+ds-1$/m)
})

test("a compiler that finds headers and no libraries, and an nbdkit without a filter, are found out", async () => {
  assert.deepEqual(await lacking("gcc", 'case "$*" in *lcrypto*) exit 1 ;; *) exec REAL "$@" ;; esac'), ["libssl-dev"])
  assert.deepEqual(await lacking("nbdkit", 'case "$*" in *filter=retry*) exit 1 ;; *) exec REAL "$@" ;; esac'), [
    "nbdkit",
  ])
})

test("the second kernel of test/vm is looked for in the user's cache", async () => {
  const cache = mkdtempSync(join(folder, "cache-"))
  const program = `import { lackingPackages } from ${JSON.stringify(join(root, "scripts/packages.mjs"))}
    console.log(lackingPackages(["vm"]).includes("linux-image-6.12-amd64"))`
  const lacks = async () => {
    const env = { PATH: `${process.env["PATH"]}`, XDG_CACHE_HOME: cache }
    return (await run(process.execPath, ["--input-type=module", "-e", program], { env })).stdout.trim()
  }
  for (const release of ["6.1.9-amd64", "6.120.1-amd64", ".new-6.12.3"])
    mkdirSync(join(cache, "tresor/kernels", release), { recursive: true })
  assert.equal(await lacks(), "true")
  mkdirSync(join(cache, "tresor/kernels/6.12.9+deb12-amd64"))
  assert.equal(await lacks(), "false")
})

interface Failure {
  place: string
  name: string
  error: string
}

/** What the runner says of one file. */
async function runFile(file: string, limits: { seconds: number; fileSeconds: number }) {
  const program = `import { runTestFiles } from ${JSON.stringify(join(root, "scripts/test-files.mjs"))}
    const result = await runTestFiles([${JSON.stringify(relative(root, file))}], ${JSON.stringify({ concurrency: 1, ...limits })})
    console.log(JSON.stringify(result))`
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", program], {
    cwd: root,
    // Else the runner thinks that it runs inside a test file, and runs nothing.
    env: { NODE_TEST_CONTEXT: undefined },
  })
  const result: { passed: number; failed: number; failures: Failure[] } = JSON.parse(stdout.trim().split("\n").at(-1)!)
  return { stdout, ...result }
}

test("a test file that never ends is stopped with all it started, and counts as failed", async () => {
  const mark = join(folder, "started")
  const file = join(folder, "endless.test.ts")
  writeFileSync(
    file,
    `import { spawn } from "node:child_process"
    import { writeFileSync } from "node:fs"
    import { createServer } from "node:net"
    import { test } from "node:test"
    test("good", () => {})
    test("endless", async () => {
      writeFileSync(${JSON.stringify(mark)}, String(spawn("sleep", ["600"]).pid))
      createServer().listen(0)
      await new Promise(() => {})
    })`,
  )
  const { stdout, failed, failures } = await runFile(file, { seconds: 60, fileSeconds: 5 })
  const stopped = /✖ .*endless\.test\.ts was stopped: it took longer than 5 s/
  assert.match(stdout, stopped)
  assert.equal(failed, 1)
  assert.deepEqual([failures.length, failures[0]!.name], [1, relative(root, file)])
  assert.match(failures[0]!.error, stopped)
  const pid = (await run("cat", [mark])).stdout
  await until("the child has ended", async () => (await run("sh", ["-c", `kill -0 ${pid}`])).code !== 0)
})

test("a test file whose tests are over and leave something open ends, and is told what", async () => {
  const file = join(folder, "open.test.ts")
  for (const failing of [false, true]) {
    writeFileSync(
      file,
      `import { createServer } from "node:net"
      import { test } from "node:test"
      test("leaves a server", async () => {
        createServer().listen(0)
        ${failing ? 'throw new Error("on purpose")' : ""}
      })
      test("another", async () => {})`,
    )
    const { stdout, failed } = await runFile(file, { seconds: 60, fileSeconds: 60 })
    assert.match(stdout, /✖ the tests are over, and the process is kept by: .*TCPServerWrap/)
    assert.equal(failed, 1)
    if (failing) assert.match(stdout, /on purpose/)
  }
})

test("a test that takes longer than its limit fails, and a file without tests does", async () => {
  const file = join(folder, "late.test.ts")
  writeFileSync(
    file,
    `import { test } from "node:test"
    import { setTimeout } from "node:timers/promises"
    test("late", () => setTimeout(4000))
    test("good", () => {})`,
  )
  const { stdout, passed, failed } = await runFile(file, { seconds: 1, fileSeconds: 60 })
  assert.match(stdout, /timed out after 1000ms/)
  assert.deepEqual([passed, failed], [1, 1])
  writeFileSync(file, "export {}")
  assert.equal((await runFile(file, { seconds: 1, fileSeconds: 60 })).failed, 1)
})

test("a run ends with each test that failed and 40 lines of its error at most, and with their names", async () => {
  const file = join(folder, "failing.test.ts")
  writeFileSync(
    file,
    `import assert from "node:assert/strict"
    import { suite, test } from "node:test"
    suite("inner", () => {
      test("compares", () => assert.equal(1, 2, "one is not two"))
      test("passes", () => {})
    })
    test("long", () => { throw new Error(Array.from({ length: 99 }, (_, line) => "line " + line).join("\\n")) })
    test("later", { skip: "no time" }, () => {})`,
  )
  const { passed, failed, failures } = await runFile(file, { seconds: 60, fileSeconds: 60 })
  assert.deepEqual([passed, failed], [1, 3])
  const place = relative(root, file)
  assert.deepEqual(
    failures.map((each) => `${each.place}: ${each.name}`),
    [`${place}: compares`, `${place}: long`, `${place}: later`],
  )
  const said = describeFailures(failures)
  assert.match(said, /^Failed:\n✖ [^\n]+: compares\n {4}AssertionError[^\n]*: one is not two\n/)
  assert.match(said, /\n {4}Error: line 0\n {4}line 1\n[\s\S]+\n {4}line 39\n {4}… \d+ lines more\n/)
  assert.match(said, /: later\n {4}the test was skipped: no time\n/)
  assert.ok(
    said.endsWith(`\nAll that failed:\n✖ ${place}: compares\n✖ ${place}: long\n✖ ${place}: later\n`),
    said.slice(-500),
  )
  assert.equal(describeFailures([]), "")
  assert.equal(lastLines(`${"x".repeat(9999)}\n\n`), `${"x".repeat(500)}…`)

  writeFileSync(file, `console.log("before\\n".repeat(99)); throw new Error("on load")`)
  const [only, ...others] = (await runFile(file, { seconds: 60, fileSeconds: 60 })).failures
  assert.deepEqual([only!.name, others], [place, []])
  assert.match(only!.error, /on load/)
  assert.ok(only!.error.split("\n").length <= 41, only!.error)
})

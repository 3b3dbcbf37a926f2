/** What monitoring reads: JSON by its schemas, metrics by other parsers, rates. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { alive, Place, root, run, tresorPath, until } from "./harness.ts"

const place = new Place()
// Debian's, which has the packages; not another one of the PATH.
const PYTHON = "/usr/bin/python3"

const VALIDATE = `
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
jsonschema.Draft202012Validator(schema).validate(json.load(sys.stdin))`

const METRICS = `
import sys, json
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
text = sys.stdin.read()
seen = {}
for family in openmetrics(text):
    for sample in family.samples:
        seen.setdefault(sample.name, []).append([sample.labels, sample.value])
for family in prometheus(text):
    for sample in family.samples:
        assert [sample.labels, sample.value] in seen[sample.name], sample
print(json.dumps(seen))`

async function valid(schema: string, json: string): Promise<void> {
  const { code, stderr } = await run(PYTHON, ["-c", VALIDATE, join(root, "docs/schemas", `${schema}.json`)], {
    input: json,
  })
  assert.equal(code, 0, `${json}\n${stderr}`)
}

async function metrics(): Promise<Record<string, [Record<string, string>, number][]>> {
  const { stdout, stderr, code } = await run(PYTHON, ["-c", METRICS], {
    input: (await place.tresor(["metrics"])).stdout,
  })
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout)
}

let keyFile = ""

before(async () => {
  for (const name of ["one", "two", "three"]) {
    const made = await place.volume(`${name}.img`)
    keyFile = made.keyFile
    const opened = await place.tresor(["open", made.path, name, "--key-file", keyFile])
    assert.equal(opened.code, 0, opened.stderr)
  }
  assert.equal((await place.tresor(["lock", "two"])).code, 0)
  const { pid } = place.state("three")
  process.kill(pid, "SIGKILL")
  await until("three is dead", () => !alive(pid))
})

const uri = (name: string) => `nbd+unix:///?socket=${place.runtime}/${name}/nbd.sock`

test("list --json and status --json, with a name and without, are as their schemas say", async () => {
  const listed = (await place.tresor(["list", "--json"])).stdout
  await valid("list", listed)
  assert.deepEqual(
    JSON.parse(listed)
      .map(({ name, state }: { name: string; state: string }) => [name, state])
      .sort(),
    [
      ["one", "unlocked"],
      ["three", "dead"],
      ["two", "locked"],
    ],
  )
  const one = (await place.tresor(["status", "one", "--json"])).stdout
  await valid("status", one)
  const all = (await place.tresor(["status", "--json"])).stdout
  await valid("status", all)
  assert.deepEqual(
    JSON.parse(all)
      .map(({ name }: { name: string }) => name)
      .sort(),
    ["one", "two"],
  )
  await assert.rejects(valid("status", one.replace('"name":', '"nam":')))
  await assert.rejects(valid("list", listed.replace('"dead"', '"ded"')))
})

test("status without a name shows every open volume", async () => {
  const { stdout } = await place.tresor(["status"])
  assert.deepEqual([...stdout.matchAll(/^name: +(\S+)$/gm)].map(([, name]) => name).sort(), ["one", "two"])
  assert.match(stdout, /\n\nname:/)
})

test("metrics are OpenMetrics, mean the same as Prometheus text, and count what was done", async () => {
  const of = (found: Awaited<ReturnType<typeof metrics>>, metric: string, name: string) =>
    found[`tresor_volume_${metric}`]?.find(([labels]) => labels["name"] === name)?.[1]
  const found = await metrics()
  assert.deepEqual([of(found, "up", "one"), of(found, "up", "three")], [1, 0])
  const states = found["tresor_volume_state"]!.filter(([, value]) => value === 1).map(([labels]) => [
    labels["name"],
    labels["state"],
  ])
  assert.deepEqual(states.sort(), [
    ["one", "unlocked"],
    ["three", "dead"],
    ["two", "locked"],
  ])
  assert.equal(of(found, "size_bytes", "one"), 16 << 20)
  assert.equal(of(found, "info", "one"), 1)
  const [before, late] = [of(found, "read_bytes_total", "one")!, of(found, "start_time_seconds", "one")!]
  assert.ok(Math.abs(late - Date.now() / 1000) < 600, String(late))
  assert.equal((await run("nbdcopy", [uri("one"), "null:"])).code, 0)
  assert.equal(of(await metrics(), "read_bytes_total", "one"), before + (16 << 20))
})

test("metrics --http answers curl through a socket that systemd listens on, with the text of metrics", async () => {
  const socket = place.path("metrics.sock")
  const command = [
    "--accept",
    "--inetd",
    "--listen",
    socket,
    ...["TRESOR_RUNTIME_DIR", "TERM"].flatMap((n) => ["-E", n]),
  ]
  const systemd = spawn("systemd-socket-activate", [...command, tresorPath, "metrics", "--http"], {
    env: { ...process.env, ...place.env },
    stdio: ["ignore", "ignore", "pipe"],
  })
  const left = once(systemd, "exit")
  try {
    await until("systemd listens", () => existsSync(socket), 100_000)
    const curl = (...args: readonly string[]) => run("curl", ["-sS", "--unix-socket", socket, ...args])
    const got = await curl("-D", place.path("head"), "http://localhost/metrics")
    assert.equal(got.code, 0, got.stderr)
    const still = (text: string) => text.replace(/^tresor_volume_(reads|read_bytes).*\n/gm, "")
    assert.equal(still(got.stdout), still((await place.tresor(["metrics"])).stdout))
    assert.match(
      readFileSync(place.path("head"), "utf8"),
      /^HTTP\/1\.1 200 OK\r\nContent-Type: application\/openmetrics-text/,
    )
    assert.match((await curl("-I", "http://localhost/metrics")).stdout, /^HTTP\/1\.1 200 OK/)
    assert.equal((await curl("-w", "%{http_code}", "-o", "/dev/null", "http://localhost/")).stdout, "404")
    assert.equal(
      (await curl("-w", "%{http_code}", "-o", "/dev/null", "-d", "x", "http://localhost/metrics")).stdout,
      "405",
    )
  } finally {
    systemd.kill()
    await left
  }
  const both = await place.tresor(["metrics", "--http", "--output", place.path("x")])
  assert.equal(both.code, 1)
  assert.match(both.stderr, /--http and --output exclude each other/)
})

test("a label's text cannot leave its quotes", async () => {
  const { path } = await place.volume('quote"\\.img')
  await place.tresor(["open", path, "quote", "--key-file", keyFile])
  const found = await metrics()
  assert.ok(
    found["tresor_volume_info"]!.some(([labels]) => labels["path"] === path),
    JSON.stringify(found["tresor_volume_info"]),
  )
  await place.tresor(["close", "quote"])
})

test("metrics --output replaces a file whole, readable by others; one that cannot be written is named", async () => {
  const file = place.file("tresor.prom", "old")
  const inode = statSync(file).ino
  const { code, stdout } = await place.tresor(["metrics", "--output", file])
  assert.deepEqual([code, stdout], [0, ""])
  assert.match(readFileSync(file, "utf8"), /# EOF\n$/)
  assert.notEqual(statSync(file).ino, inode)
  assert.equal(statSync(file).mode & 0o777, 0o644 & ~process.umask())
  assert.deepEqual(
    readdirSync(place.folder).filter((name) => name.startsWith(".tresor.prom")),
    [],
  )
  const refused = await place.tresor(["metrics", "--output", "/nowhere/tresor.prom"])
  assert.equal(refused.code, 4)
  assert.match(refused.stderr, /^tresor: error: Cannot write \/nowhere\/tresor.prom: ENOENT; [^\n]+\n$/)
})

test("list --watch shows rates until it is interrupted, and goes on without volumes that are closed", async () => {
  const child = spawn(tresorPath, ["list", "--watch", "--json"], {
    env: { ...process.env, ...place.env },
    stdio: ["ignore", "pipe", "inherit"],
  })
  let text = ""
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk
  })
  const lines = () =>
    text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { name: string; bytesRead: number | null }[])
  await until("first line", () => lines().length > 0)
  assert.equal((await run("nbdcopy", [uri("one"), "null:"])).code, 0)
  await until("a rate", () =>
    lines().some((each) => each.some(({ name, bytesRead }) => name === "one" && (bytesRead ?? 0) > 0)),
  )
  await place.tresor(["close", "two"])
  await until(
    "two is gone",
    () =>
      !lines()
        .at(-1)!
        .some(({ name }) => name === "two"),
  )
  await valid("watch", text.split("\n")[0]!)
  child.kill("SIGINT")
  await new Promise((resolve) => child.on("close", resolve))
  const shown = await place.typed(["list", "--watch", "1"], [["WRITTEN", "^C"]])
  assert.match(shown.stdout, /NAME +STATE +READS\/s/)
})

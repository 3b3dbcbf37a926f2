/** The recovery key gets to its owner or nothing is made; what a person types is helped along. */
import assert from "node:assert/strict"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { after, before, test } from "node:test"
import { fileURLToPath } from "node:url"
import { Place, type Result, run, tresorPath } from "./harness.ts"

const place = new Place()
const FAST = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
const KEY = /(?:[cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}/g
let keyFile = ""

before(() => {
  keyFile = place.file("key", "correct horse")
})

/** A shell's line on a terminal. */
function shell(line: string, script: readonly (readonly [string, string])[] = []): Promise<Result> {
  const terminal = fileURLToPath(new URL("terminal.py", import.meta.url))
  return run("python3", [terminal, JSON.stringify(script), "bash", "-o", "pipefail", "-c", line], { env: place.env })
}

const create = (path: string, ...more: readonly string[]) =>
  [tresorPath, "create", path, "--size", "20M", "--key-file", keyFile, ...FAST, ...more].join(" ")

const opens = async (path: string, secret: string): Promise<number> =>
  (await run("cryptsetup", ["open", "--test-passphrase", "--key-file", "-", path], { input: secret })).code

test("the recovery key goes to the terminal, not into what standard output is piped to", async () => {
  const path = place.path("tee.img")
  const log = place.path("log")
  const { code, stdout } = await shell(`${create(path)} > ${log}`)
  assert.equal(code, 0, stdout)
  const keys = stdout.match(KEY) ?? []
  assert.equal(keys.length, 1)
  const logged = readFileSync(log, "utf8")
  assert.match(logged, /4 MiB usable of 20 MiB/)
  assert.equal(logged.match(KEY), null)
  assert.equal(await opens(path, keys[0]!), 0)
})

test("without a terminal and without a file nothing is asked and nothing is made", async () => {
  const path = place.path("none.img")
  const { code, stdout, stderr } = await run("setsid", ["--wait", "sh", "-c", create(path)], { env: place.env })
  assert.equal(code, 1)
  assert.equal(stdout, "")
  assert.match(
    stderr,
    /^tresor: error: Cannot show a recovery key: no terminal is available; [^\n]*--recovery-key-file[^\n]*\n$/,
  )
  assert.ok(!existsSync(path))
})

test("a reader that left: exit 141, and the volume has the recovery key that was shown", async () => {
  const path = place.path("pipe.img")
  const { code, stdout } = await shell(`${create(path)} | true`)
  assert.equal(code, 141, stdout)
  assert.equal(await opens(path, stdout.match(KEY)![0]), 0)
})

test("a full device for standard output: exit 4 and one line, no trace of the program's insides", async () => {
  const path = place.path("full.img")
  const { code, stdout } = await shell(`${create(path)} > /dev/full`)
  assert.equal(code, 4, stdout)
  assert.match(stdout, /tresor: error: Cannot write to standard output: no space left on the device; [^\n]*\r?\n$/)
  assert.doesNotMatch(stdout, /\bat .*\(|node:/)
  assert.equal(await opens(path, stdout.match(KEY)![0]), 0)
  for (const args of [["list"], ["list", "--json"], ["doctor"], ["--help"], ["completion", "bash"], ["uuid", path]]) {
    const full = await shell(`${tresorPath} ${args.join(" ")} > /dev/full`)
    assert.equal(full.code, 4, `${args.join(" ")}: ${full.stdout}`)
    assert.doesNotMatch(full.stdout, /\bat .*\(|node:/)
  }
})

test("a failure whose reader left stays the failure it was", async () => {
  const { path } = await place.volume("damaged.img", "x")
  const bytes = readFileSync(path)
  bytes[100] = bytes[100]! ^ 1
  writeFileSync(path, bytes)
  assert.equal((await place.tresor(["check", path])).code, 4)
  assert.equal((await shell(`${tresorPath} check ${path} 2>&1 | true`)).code, 4)
  assert.equal((await shell(`${tresorPath} check ${path} > /dev/full`)).code, 4)
})

test("a recovery key that cannot be delivered: no volume, no keyslot, no file", async () => {
  const full = place.path("full")
  mkdirSync(full)
  assert.equal((await run("mount", ["-t", "tmpfs", "-o", "size=4k", "none", full])).code, 0)
  after(() => run("umount", [full]))
  writeFileSync(`${full}/all`, Buffer.alloc(4096))
  const path = place.path("undelivered.img")
  const made = await shell(create(path, "--recovery-key-file", `${full}/recovery`))
  assert.equal(made.code, 4, made.stdout)
  assert.match(made.stdout, /no space left on the device/)
  assert.ok(!existsSync(path))
  assert.ok(!existsSync(`${full}/recovery`))

  const theirs = place.path("theirs.img")
  await run("truncate", ["-s", "20M", theirs])
  const format = ["luksFormat", "-q", "--type", "luks2", ...FAST, theirs, keyFile]
  assert.equal((await run("cryptsetup", format)).code, 0)
  const before = readFileSync(theirs)
  const next = place.file("next", "next")
  const adopt = [tresorPath, "adopt", theirs, "--key-file", keyFile, "--new-key-file", next, ...FAST]
  const adopted = await shell([...adopt, "--recovery-key-file", `${full}/recovery`].join(" "))
  assert.equal(adopted.code, 4, adopted.stdout)
  assert.deepEqual(readFileSync(theirs), before)
  const shown = await shell(`${adopt.join(" ")} | true`)
  assert.equal(shown.code, 141, shown.stdout)
  assert.equal(await opens(theirs, shown.stdout.match(KEY)![0]), 0)
})

test("typed back: the wrong group is named, the right key makes the volume, Ctrl-C makes none", async () => {
  const path = place.path("back.img")
  const back = "Type the recovery key back"
  const { code, stdout } = await shell(create(path, "--confirm-recovery-key"), [
    [back, "@WRONG5@\r"],
    [back, "@KEY@ extra\r"],
    [back, "@KEY@\r"],
  ])
  assert.equal(code, 0, stdout)
  assert.match(stdout, /Not the key shown above: group 5 is another\./)
  assert.match(stdout, /Not the key shown above: there are 9 groups, not 8\./)
  assert.equal(await opens(path, stdout.match(KEY)![0]), 0)
  const given = place.path("given-up.img")
  assert.notEqual((await shell(create(given, "--confirm-recovery-key"), [[back, "^C"]])).code, 0)
  assert.ok(!existsSync(given))
})

test("recover: shown while it is typed, the wrong groups named, asked for again", async () => {
  const path = place.path("recover.img")
  const key = (await shell(create(path))).stdout.match(KEY)![0]
  const groups = key.split("-")
  const prompt = "Enter recovery key"
  const bad = groups
    .with(1, "cbdefgh")
    .with(6, `${groups[6]!.slice(0, 7)}x`)
    .join(" ")
  const other = groups.with(0, groups[0] === "cccccccc" ? "bbbbbbbb" : "cccccccc").join("")
  const { code, stdout } = await place.typed(
    ["recover", path, "--check-only"],
    [
      [prompt, `${bad}\r`],
      [prompt, `${other}\r`],
      [prompt, `${groups.join("").toUpperCase()}\r`],
    ],
  )
  assert.equal(code, 0, stdout)
  assert.ok(stdout.includes(bad), "it is shown while it is typed")
  assert.match(
    stdout,
    /Not a recovery key: group 2 has 7 letters, not 8; group 7 has a letter that no recovery key has, its last\./,
  )
  assert.match(stdout, /No keyslot opens with this recovery key\./)
  assert.match(stdout, /The recovery key opens /)
  const piped = await place.tresor(["recover", path, "--check-only", "--recovery-key-file", "-"], { input: bad })
  assert.equal(piped.code, 2)
  assert.match(piped.stderr, /^tresor: error: Not a recovery key: group 2 [^\n]*\n$/)
})

/** What a camera would see: light modules light, four pixels each. */
function picture(lines: readonly string[]): Buffer {
  const scale = 4
  const rows = lines.flatMap((line) => {
    const upper = Array.from(line, (c) => (c === "█" || c === "▀" ? 255 : 0))
    const lower = Array.from(line, (c) => (c === "█" || c === "▄" ? 255 : 0))
    return [upper, lower]
  })
  const side = rows[0]!.length
  const pixels = rows
    .slice(0, side)
    .flatMap((row) => Array.from({ length: scale }, () => row.flatMap((value) => Array(scale).fill(value))))
  return Buffer.concat([Buffer.from(`P5 ${side * scale} ${side * scale} 255\n`), Buffer.from(pixels.flat())])
}

test("--qr: zbar reads the recovery key from the terminal", async () => {
  const path = place.path("qr.img")
  const { code, stdout } = await shell(create(path, "--qr"))
  assert.equal(code, 0, stdout)
  const lines = stdout.split(/\r?\n/).filter((line) => /^[█▀▄ ]{30,}$/.test(line) && /[█▀▄]/.test(line))
  assert.ok(lines.length >= 20 && lines.every((line) => line.length === lines[0]!.length))
  assert.ok(lines[0]!.length <= 80, "it fits 80 columns")
  const image = place.file("qr.pgm", picture(lines))
  const read = await run("zbarimg", ["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", image])
  assert.equal(read.stdout.trim(), stdout.match(KEY)![0], read.stderr)
})

test("what is typed between two prompts is neither shown nor used, and echo is back at the end", async () => {
  const path = place.path("slow.img")
  const slow = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "6000000"]
  const made = await place.tresor([
    ...["create", path, "--size", "20M", "--key-file", keyFile, "--no-recovery", "--portable", ...slow],
  ])
  assert.equal(made.code, 0, made.stderr)
  const command = `${tresorPath} key add ${path} ${FAST.join(" ")}`
  const echo = `trap : INT; ${command}; stty -a | grep -o -- "-\\?\\becho\\b"`
  const { stdout } = await shell(echo, [
    ["Enter any existing passphrase", "correct horse\r"],
    ["Opening the keyslot", "typed-ahead\r"],
    ["Enter new passphrase", "new one\r"],
    ["Verify passphrase", "new one\r"],
  ])
  assert.match(stdout, /Keyslot 1 added/)
  assert.ok(!stdout.includes("typed-ahead"), stdout)
  assert.match(stdout, /\necho\r?\n$/)
  assert.equal(await opens(path, "new one"), 2, "sealed: cryptsetup does not open it")
  assert.equal((await place.tresor(["open", path, "w", "-S", "1"], { input: "new one\n" })).code, 0)
  await place.tresor(["close", "w"])

  const ended = await shell(echo, [
    ["Enter any existing passphrase", "correct horse\r"],
    ["Opening the keyslot", "^C"],
  ])
  assert.ok(!ended.stdout.includes("Enter new passphrase"), ended.stdout)
  assert.match(ended.stdout, /(?<!-)echo\r?\n$/, "after Ctrl-C in between too")
})

test("Ctrl-C while the header is written: no volume, no recovery key", async () => {
  const [path, recovery] = [place.path("cut.img"), place.path("cut.recovery")]
  // Typed back is the last step before; the signal meets what is written after it.
  const made = `${create(path, "--recovery-key-file", recovery, "--header", place.path("cut.hdr"))}`
  for (const delay of ["0.35", "0.45", "0.55", "0.65", "0.8"]) {
    const { code } = await run("timeout", ["--preserve-status", "--signal=INT", delay, "sh", "-c", `exec ${made}`], {
      env: place.env,
    })
    const left = [path, recovery, place.path("cut.hdr")].filter((each) => existsSync(each))
    // All of it, or nothing of it. The signal may also meet a process that has done all and is about to end.
    assert.ok(left.length === 0 || left.length === 3, `${delay}: exit ${code}, left ${left.join()}`)
    if (left.length === 3) {
      const header = ["--header", place.path("cut.hdr"), path]
      const opened = await run("cryptsetup", ["open", "--test-passphrase", "--key-file", recovery, ...header])
      assert.equal(opened.code, 0, `${delay}: exit ${code}: ${opened.stderr}`)
    }
    await run("rm", ["-f", ...left])
  }
})

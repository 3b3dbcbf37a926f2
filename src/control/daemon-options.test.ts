import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { buildProgram } from "../cli/program.ts"
import { checkOptions, daemonOptionsSchema, exportOf, optionsOfWords } from "./daemon-options.ts"
import { ioThreadsFor } from "./option-limits.ts"

const { path: _path, name: _name, ...flags } = daemonOptionsSchema.entries
const read = (...words: string[]) => {
  const { options, positionals } = optionsOfWords(words, flags)
  const [path, name] = positionals
  return checkOptions(daemonOptionsSchema, { ...options, path, name })
}
const defaults = {
  path: "disk.img",
  name: "work",
  backend: "auto",
  readonly: false,
  allowDiscards: false,
  direct: false,
  block: false,
  kernel: false,
  vhostUser: false,
  header: null,
  grace: null,
  ioThreads: null,
  lease: null,
  leaseDuration: 60,
  storeTimeout: 60,
  transitionCycles: 0,
  socket: null,
  socketGroup: null,
  socketMode: "0600",
}

test("words of a command line become the object that the opener sends", () => {
  assert.deepEqual(read("--", "disk.img", "work"), defaults)
  assert.deepEqual(read("--readonly", "--allow-discards", "--direct", "--kernel", "disk.img", "work"), {
    ...defaults,
    readonly: true,
    allowDiscards: true,
    direct: true,
    kernel: true,
  })
  const valued = ["--backend", "software", "--header", "h.img", "--grace", "0", "--transition-cycles", "14000"]
  assert.deepEqual(read(...valued, "--", "disk.img", "work"), {
    ...defaults,
    backend: "software",
    header: "h.img",
    grace: 0,
    transitionCycles: 14_000,
  })
  // What was checked passes as it is, over the lifeline too.
  const leased = ["--lease", "ceph:rbd/work", "--lease-duration", "6", "--store-timeout", "2", "nbd://a/b", "work"]
  assert.deepEqual(read(...leased), {
    ...defaults,
    path: "nbd://a/b",
    lease: "ceph:rbd/work",
    leaseDuration: 6,
    storeTimeout: 2,
  })
  assert.equal(read("--socket-mode", "0660", "disk.img", "work").socketMode, "0660")
  assert.throws(() => read("--socket-mode", "0666", "disk.img", "work"), /--socket-mode 0666 is not a mode/)
  assert.equal(read("--io-threads", "6", "disk.img", "work").ioThreads, 6)
  assert.throws(
    () => read("--io-threads", "7", "disk.img", "work"),
    /--io-threads 7 is not a number of threads up to 6/,
  )
  assert.deepEqual([1, 2, 3, 4, 64].map(ioThreadsFor), [0, 0, 2, 3, 6])
  const sent = JSON.parse(JSON.stringify(read(...valued, "--", "disk.img", "work")))
  assert.deepEqual(checkOptions(daemonOptionsSchema, sent), sent)
})

test("a volume is exported in one way, over NBD by default", () => {
  assert.equal(exportOf(read("disk.img", "work")), "nbd")
  assert.equal(exportOf(read("--block", "disk.img", "work")), "block")
  assert.equal(exportOf(read("--kernel", "disk.img", "work")), "kernel")
  assert.equal(exportOf(read("--vhost-user", "disk.img", "work")), "vhost-user")
  assert.throws(() => exportOf(read("--vhost-user", "--kernel", "disk.img", "work")), {
    code: "USAGE",
    exitCode: 1,
    message: "Cannot open disk.img: --kernel and --vhost-user exclude each other; a volume is exported in one way",
  })
})

for (const [words, message] of [
  [["--backend", "tpm"], "Cannot start tresord: unknown backend tpm; use auto, sgx or software"],
  [["--grace", "soon"], "Cannot start tresord: --grace soon is not a number of seconds up to 31536000"],
  [["--grace", "1e3"], "Cannot start tresord: --grace 1e3 is not a number of seconds up to 31536000"],
  [["--grace", "31536001"], "Cannot start tresord: --grace 31536001 is not a number of seconds up to 31536000"],
  [["--lease-duration", "5"], "Cannot start tresord: --lease-duration 5 is not a number of seconds from 6 to 3600"],
  [["--store-timeout", "1"], "Cannot start tresord: --store-timeout 1 is not a number of seconds from 2 to 86400"],
  [
    ["--transition-cycles", "10000000"],
    "Cannot start tresord: --transition-cycles 10000000 is not a number of cycles up to 9999999",
  ],
] as const)
  test(`${words.join(" ")} is refused`, () => {
    assert.throws(() => read(...words, "--", "disk.img", "work"), { code: "USAGE", exitCode: 1, message })
  })

test("an unknown option is refused", () => {
  assert.throws(() => read("--read-only", "--", "disk.img", "work"), /--read-only/)
})

test("`tresor open` and tresord(8) have every option of the schema", async () => {
  const program = await buildProgram("", ["completion"])
  const open = program.commands.find((command) => command.name() === "open")!
  const ofOpen = new Set(open.options.map((option) => option.attributeName()))
  const page = readFileSync(new URL("../../docs/man/tresord.8.md", import.meta.url), "utf8")
  for (const field of Object.keys(flags)) {
    assert.ok(ofOpen.has(field), `tresor open lacks ${field}`)
    const flag = `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
    assert.match(page, new RegExp(`^\\*\\*${flag}\\*\\*`, "m"), flag)
  }
})

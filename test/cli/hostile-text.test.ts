/** What others wrote is shown, and does nothing to the terminal: labels in a header, a tresord elsewhere, file names. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { before, test } from "node:test"
import { Place, type Result, run, tresorPath } from "./harness.ts"

const place = new Place()
const LABEL = "\x1b]0;owned\x07\x9b31m\u202efdp\u2066\x7f\ntwo"
const SPELLED = "\\x1b]0;owned\\x07\\x9b31m\\u202efdp\\u2066\\x7f\\ntwo"
let path = ""
let keyFile = ""

/** C0 but for newline and tab (and what a terminal makes of a newline), DEL, C1, bidi. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const ACTS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/

function harmless({ stdout, stderr }: Result): string {
  const shown = (stdout + stderr).replaceAll("\r\n", "\n")
  assert.doesNotMatch(shown, ACTS, JSON.stringify(shown))
  assert.ok(!shown.includes("\r"), JSON.stringify(shown))
  return shown
}

before(async () => {
  ;({ path, keyFile } = await place.volume("disk.img", "correct horse", ["--label", LABEL]))
})

for (const [name, args] of [
  ["label", () => ["label", path]],
  ["dump", () => ["dump", path]],
  ["status", () => ["status", "work"]],
] as const) {
  test(`a hostile label is spelled out by ${name}, on a pipe and on a terminal`, async () => {
    if (name === "status") assert.equal((await place.tresor(["open", path, "work", "--key-file", keyFile])).code, 0)
    for (const result of [await place.tresor(args()), await place.typed(args(), [])]) {
      assert.equal(result.code, 0, result.stderr)
      assert.ok(harmless(result).includes(SPELLED))
    }
  })
}

test("--json has the label as it is, and no byte that acts on a terminal", async () => {
  for (const args of [
    ["dump", path, "--json"],
    ["status", "work", "--json"],
  ]) {
    const result = await place.tresor(args)
    harmless(result)
    assert.equal(JSON.parse(result.stdout).label, LABEL)
  }
  await place.tresor(["close", "work"])
})

test("a hostile file name does nothing, in errors and in prompts", async () => {
  const name = place.path("a\x1b[2J\x9b\u202e\nb.img")
  const missing = await place.tresor(["open", name, "work", "--key-file", keyFile])
  assert.notEqual(missing.code, 0)
  assert.match(harmless(missing), /^[^\n]*\\x1b\[2J\\x9b\\u202e[^\n]*\n$/)
  await run("cp", [path, name])
  const asked = await place.typed(["open", name, "work", "--tries", "1"], [["Enter passphrase", "wrong\r"]])
  assert.equal(asked.code, 2)
  assert.match(harmless(asked), /Enter passphrase for [^\n]*\\x1b\[2J\\x9b\\u202e\\nb\.img: /)
})

test("a hostile tresord elsewhere does nothing, by its path or by its errors", async () => {
  assert.equal((await place.tresor(["open", path, "far", "--locked"])).code, 0)
  const liar = join(import.meta.dirname, "../attest/liar.mjs")
  const rsh = place.file(
    "rsh",
    `#!/bin/sh\nprintf 'motd\\033]0;owned\\007\\302\\233\\n' >&2\nexec ${process.execPath} ${liar} "$@"\n`,
  )
  await run("chmod", ["+x", rsh])
  const policy = place.path("policy.json")
  assert.equal((await place.tresor(["attest", "policy", "init", "--testing", "--out", policy])).code, 0)
  const remote = ["--remote", "user@host", "--rsh", rsh, "--remote-tresor", tresorPath, "--policy", policy]
  for (const [lie, shown] of [
    ["escapes in the path", /Enter passphrase for \/dev\/sda\\x1b\]0;owned\\x07/],
    ["escapes in an error", /\/dev\/sda\\x1b\]0;owned\\x07/],
  ] as const) {
    const tap = place.path("tap")
    writeFileSync(tap, "")
    const script: (readonly [string, string])[] = [["Enter passphrase", "wrong\r"]]
    const result = await place.typed(["setkey", "far", ...remote, "--tries", "1"], script, { LIE: lie, TAP: tap })
    assert.notEqual(result.code, 0)
    assert.match(harmless(result), shown, lie)
    assert.match(harmless(result), /^motd\\x1b\]0;owned\\x07\\x9b$/m)
  }
})

/** A server that refuses the export with a text of its own (NBD_REP_ERR_UNKNOWN). */
test("a hostile NBD server does nothing by its error text", async () => {
  const server = `
import socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print("up", flush=True)
while True:
    c, _ = s.accept()
    try:
        c.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3)); c.recv(4)
        while True:
            head = c.recv(16)
            if len(head) < 16: break
            opt, size = struct.unpack(">II", head[8:])
            while size > 0: size -= len(c.recv(size))
            text = "no \\x1b[2J\\x9b31m\\u202eexport".encode()
            c.sendall(struct.pack(">QIII", 0x3e889045565a9, opt, 0x80000006, len(text)) + text)
    except OSError: pass
`
  const socket = place.path("s")
  const child = spawn("python3", ["-c", server, socket], { stdio: ["ignore", "pipe", "inherit"] })
  try {
    await new Promise((resolve) => child.stdout.once("data", resolve))
    const refused = await place.tresor(["open", `nbd+unix:///\x1b%1b?socket=${socket}`, "work", "--key-file", keyFile])
    assert.notEqual(refused.code, 0)
    assert.match(harmless(refused), /^tresor: error: [^\n]+\n$/)
  } finally {
    child.kill("SIGKILL")
  }
})

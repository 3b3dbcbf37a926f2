import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { startLog } from "./log.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-log-"))
after(() => rmSync(folder, { recursive: true, force: true }))

/** What a datagram socket at `path` gets until it has `count` datagrams. */
async function received(path: string, count: number, work: () => void): Promise<string[]> {
  const program = `
import json, socket, sys
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
print(json.dumps("bound"), flush=True)
for _ in range(int(sys.argv[2])):
    print(json.dumps(receiver.recv(1 << 20).decode()), flush=True)`
  const child = spawn("python3", ["-c", program, path, String(count)], { stdio: ["ignore", "pipe", "inherit"] })
  let text = ""
  let worked = false
  for await (const chunk of child.stdout) {
    text += chunk
    if (!worked && text.includes("\n")) {
      worked = true
      work()
    }
  }
  const [bound, ...datagrams] = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as string)
  assert.equal(bound, "bound")
  return datagrams
}

test("the journal gets each record as one datagram, with the volume's name once it is known", async () => {
  const file = join(folder, "stderr")
  const [first, second] = await received(join(folder, "journal"), 2, () => {
    const log = startLog(openSync(file, "w"), join(folder, "journal"))
    log.info("uses the machine secret of the file's owner", { uid: 7 })
    log.about("work")
    log.warn("state", { state: "failed", keyslot: null })
  })
  assert.match(first!, /^MESSAGE=uses the machine secret of the file's owner: uid 7\nPRIORITY=6\n/)
  assert.match(
    second!,
    /^MESSAGE=work: state: failed\nPRIORITY=4\n[\s\S]*\nTRESOR_VOLUME=work\n[\s\S]*\nTRESOR_STATE=failed\n$/,
  )
  assert.equal(readFileSync(file, "utf8"), "")
})

test("what the journal does not take, and what goes elsewhere, is a line of JSON", () => {
  for (const journal of [join(folder, "nothing"), null]) {
    const file = join(folder, "lines")
    const log = startLog(openSync(file, "w"), journal)
    log.about("work")
    log.error("data may be lost", { reason: "EIO" })
    const [priority, line] = /^<(\d)>(.*)\n$/.exec(readFileSync(file, "utf8"))!.slice(1)
    assert.equal(priority, "3")
    const { time, ...rest } = JSON.parse(line!)
    assert.ok(Number.isFinite(Date.parse(time)))
    assert.deepEqual(rest, { level: "error", area: "daemon", message: "data may be lost", reason: "EIO" })
  }
})

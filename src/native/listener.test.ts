import assert from "node:assert/strict"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { Listener } from "./listener.ts"

const accepting = () => createServer((socket) => socket.end("here"))

function answerOf(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ""
    connect(path)
      .setEncoding("utf8")
      .on("data", (text) => {
        said += text
      })
      .on("end", () => resolve(said))
      .on("error", reject)
  })
}

for (const name of ["socket", "socket~", "s"]) {
  test(`a listener at "${name}" leaves nothing beside it, survives a pause, and removes it when it closes`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "listener-"))
    const path = join(folder, name)
    try {
      const listener = await Listener.open({ path }, 8, accepting)
      assert.deepEqual(readdirSync(folder), [name])
      assert.equal(await answerOf(path), "here")
      const fd = listener.pause()
      const waiting = answerOf(path)
      assert.ok(existsSync(path))
      await listener.resume(fd)
      assert.equal(await waiting, "here")
      await listener.close()
      assert.deepEqual(readdirSync(folder), [])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
}

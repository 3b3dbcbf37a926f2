/** Passphrases from password agents, by programs in the place of systemd-ask-password. */
import assert from "node:assert/strict"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { askAgents, wordsFor } from "./password-agent.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-agent-"))
after(() => rmSync(folder, { recursive: true, force: true }))

const question = { prompt: "Enter passphrase for /dev/sda", timeout: undefined, cache: false, again: false }

function program(name: string, script: string): string {
  const path = join(folder, name)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

test("the answer is what was typed, byte by byte, without the program's newline", async () => {
  const typed = program("typed", "printf ' a\\377\\n b'; sleep 0.1; printf 'c \\n'")
  assert.deepEqual(Buffer.from(await askAgents(question, typed)), Buffer.from(" a\xff\n bc ", "latin1"))
  assert.equal((await askAgents(question, program("empty", "echo"))).length, 0)
})

test("only a first question takes a cached answer, and only when the cache is asked for", () => {
  const cached = (words: readonly string[]) => words.filter((word) => /cache|keyname/.test(word))
  assert.deepEqual(cached(wordsFor(question)), [])
  assert.deepEqual(cached(wordsFor({ ...question, cache: true })), ["--keyname=tresor", "--accept-cached"])
  assert.deepEqual(cached(wordsFor({ ...question, cache: true, again: true })), ["--keyname=tresor"])
})

test("the prompt shows control characters instead of sending them, and the limit is passed on", () => {
  const words = wordsFor({ ...question, prompt: "for \u001b[31m", timeout: 30 })
  assert.ok(!words.at(-1)!.includes("\u001b"), words.at(-1))
  assert.ok(words.includes("--timeout=30"))
})

test("a question that nobody answers is an error that says why; so is a system without agents", async () => {
  const late = program("late", "echo 'Failed to query password: Timer expired' >&2; exit 1")
  await assert.rejects(askAgents(question, late), { code: "PASSPHRASE_FAILED", message: /agent: .*Timer expired; / })
  const silent = program("silent", "exit 3")
  await assert.rejects(askAgents(question, silent), { message: /exited with 3; / })
  await assert.rejects(askAgents(question, join(folder, "none")), { message: /none is not installed; / })
})

import assert from "node:assert/strict"
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { readMachineSecret } from "./machine-secret.ts"

function inFolder(work: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "tresor-secret-"))
  try {
    work(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test("the secret is made once, 0600, and stays", () => {
  inFolder((folder) => {
    const state = join(folder, "a/b")
    const first = readMachineSecret(state)
    assert.equal(first.length, 32)
    assert.notDeepEqual(first, Buffer.alloc(32))
    assert.equal(statSync(join(state, "machine-secret")).mode & 0o777, 0o600)
    assert.equal(statSync(state).mode & 0o777, 0o700)
    assert.deepEqual(readMachineSecret(state), first)
    assert.deepEqual(readdirSync(state), ["machine-secret"])
  })
})

test("a secret that cannot be trusted is refused and left alone", () => {
  const refused = { code: "MACHINE_SECRET_REFUSED", exitCode: 2 }
  inFolder((folder) => {
    const path = join(folder, "machine-secret")
    writeFileSync(path, Buffer.alloc(32, 7), { mode: 0o600 })
    chmodSync(path, 0o644)
    assert.throws(() => readMachineSecret(folder), { ...refused, message: /mode is 0644/ })
    chmodSync(path, 0o600)
    writeFileSync(path, Buffer.alloc(31, 7))
    assert.throws(() => readMachineSecret(folder), { ...refused, message: /31 bytes/ })
    assert.equal(readFileSync(path).length, 31)
    rmSync(path)
    writeFileSync(join(folder, "elsewhere"), Buffer.alloc(32, 7), { mode: 0o600 })
    symlinkSync("elsewhere", path)
    assert.throws(() => readMachineSecret(folder), { ...refused, message: /symbolic link/ })
  })
})

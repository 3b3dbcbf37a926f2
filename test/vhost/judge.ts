/** What a volume holds, by cryptsetup and OpenSSL: nothing of ours decrypts it. */
import assert from "node:assert/strict"
import { closeSync, openSync, readFileSync, readSync, rmSync } from "node:fs"
import { decryptXts } from "../../src/testing/luks.ts"
import { run } from "../cli/harness.ts"

interface Dump {
  readonly segments: Readonly<Record<string, { readonly offset: string; readonly sector_size: number }>>
}

/** `length` bytes of plaintext from `offset` on, both whole sectors. The volume has a portable passphrase. */
export async function plaintextOf(path: string, keyFile: string, offset: number, length: number): Promise<Buffer> {
  const keyPath = `${path}.volume-key`
  const dumped = await run("cryptsetup", ["luksDump", "--dump-json-metadata", path])
  assert.equal(dumped.code, 0, dumped.stderr)
  const [segment] = Object.values((JSON.parse(dumped.stdout) as Dump).segments)
  const key = await run("cryptsetup", [
    ...["-q", "luksDump", "--dump-volume-key", "--volume-key-file", keyPath],
    ...["--key-file", keyFile, path],
  ])
  assert.equal(key.code, 0, key.stderr)
  const bytes = Buffer.alloc(length)
  const fd = openSync(path, "r")
  try {
    assert.equal(readSync(fd, bytes, 0, length, Number(segment!.offset) + offset), length)
    return decryptXts(readFileSync(keyPath), segment!.sector_size, BigInt(offset / 512), bytes)
  } finally {
    closeSync(fd)
    rmSync(keyPath)
  }
}

/**
 * A recovery key on its way out: 256 random bits in systemd-cryptenroll's
 * spelling, shown once or written to a file only its owner reads. Bytes
 * throughout, wiped at the end.
 */
import { randomFillSync } from "node:crypto"
import { closeSync, existsSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs"
import { Exit, TresorError } from "../errors.ts"
import { encodeRecoveryKey } from "../luks2/modhex.ts"
import type { Output } from "../output/output.ts"
import { recoveryKeyNotice } from "./messages.ts"
import { wipe, withSecret } from "./secrets.ts"

const KEY_SIZE = 32

/** 71 bytes of text, in a buffer of its own. */
export function makeRecoveryKey(): Uint8Array {
  const random = Buffer.alloc(KEY_SIZE)
  try {
    return encodeRecoveryKey(randomFillSync(random))
  } finally {
    wipe(random)
  }
}

/** Throws RECOVERY_FILE_EXISTS (exit 5): an older key may be in it. */
export function checkRecoveryFile(path: string | undefined): void {
  if (path === undefined || !existsSync(path)) return
  throw new TresorError(
    "RECOVERY_FILE_EXISTS",
    Exit.busy,
    `Cannot write the recovery key to ${path}: it exists; name a new file`,
  )
}

/** Without a newline: `cryptsetup open --key-file` takes the file as it is. */
function writeNewFile(path: string, bytes: Uint8Array): void {
  const fd = openSync(path, "wx", 0o600)
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/**
 * Runs `work` with a new recovery key. With a file, the key is on stable
 * storage before `work` makes it count, and goes when `work` fails; without
 * one it is shown by `show` afterwards.
 */
export function withRecoveryKey<T>(
  file: string | undefined,
  work: (key: Uint8Array) => Promise<T>,
  show: (key: Uint8Array) => Promise<void>,
): Promise<T> {
  return withSecret(makeRecoveryKey(), async (key) => {
    if (file !== undefined) writeNewFile(file, key)
    let result: T
    try {
      result = await work(key)
    } catch (error) {
      if (file !== undefined) rmSync(file, { force: true })
      throw error
    }
    if (file === undefined) await show(key)
    return result
  })
}

/** The key alone on a line, and why it matters. */
export async function showRecoveryKey(key: Uint8Array, output: Output): Promise<void> {
  output.text("\nThis is the recovery key:\n\n    ")
  output.bytes(key)
  output.text(`\n\n${recoveryKeyNotice().join("\n")}\n`)
}

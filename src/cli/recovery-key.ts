/**
 * A recovery key on its way out: 256 random bits in systemd-cryptenroll's
 * spelling, shown once on the terminal or written to a file only its owner reads. Bytes
 * throughout, wiped at the end.
 */
import { closeSync, existsSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs"
import { Exit, TresorError } from "../base/errors.ts"
import { undoneWhenInterrupted } from "../base/interrupted.ts"
import { syncDirectory } from "../base/replace-file.ts"
import { makeRecoveryKey, recoveryKeyFaults } from "../luks2/recovery-key.ts"
import { recoveryKeyNotice } from "./messages.ts"
import { err } from "./output/output.ts"
import { qrCode } from "./qr.ts"
import { readShown, wipe, withSecret } from "./secrets.ts"
import { Terminal } from "./terminal.ts"

/** Throws RECOVERY_FILE_EXISTS (exit 5): an older key may be in it. */
function checkRecoveryFile(path: string | undefined): void {
  if (path === undefined || !existsSync(path)) return
  throw new TresorError(
    "RECOVERY_FILE_EXISTS",
    Exit.busy,
    `Cannot write the recovery key to ${path}: it exists; name a new file`,
  )
}

/** Without a newline: `cryptsetup open --key-file` takes the file as it is. */
function writeNewFile(path: string, bytes: Uint8Array, made: () => void): void {
  const fd = openSync(path, "wx", 0o600)
  made()
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  syncDirectory(path)
}

export interface RecoveryOptions {
  readonly recoveryKeyFile?: string
  /** Show it as a QR code too. */
  readonly qr?: true
  /** Have it typed back before it counts. */
  readonly confirmRecoveryKey?: true
  readonly timeout?: number
}

/**
 * Before anything is asked or made: whether the key can get to its owner.
 * Throws RECOVERY_FILE_EXISTS (exit 5), RECOVERY_NO_TERMINAL (exit 1).
 */
export function checkRecovery({ recoveryKeyFile }: RecoveryOptions): void {
  checkRecoveryFile(recoveryKeyFile)
  if (recoveryKeyFile !== undefined) return
  using terminal = Terminal.open()
  if (terminal === null) {
    throw new TresorError(
      "RECOVERY_NO_TERMINAL",
      Exit.badArguments,
      "Cannot show a recovery key: no terminal is available; name a file with --recovery-key-file, or make none with --no-recovery",
    )
  }
}

/** The key alone on a line, and why it matters. To the terminal only: a pipe or a log would keep it. */
function show(key: Uint8Array, qr: boolean, { title, notice }: KeyWords): void {
  using terminal = Terminal.open()
  if (terminal === null) throw new TresorError("RECOVERY_NO_TERMINAL", Exit.badArguments, "The terminal is gone")
  terminal.write(`\n${title}\n\n    `)
  terminal.write(key)
  terminal.write(`\n\n${qr ? `${qrCode(key)}\n` : ""}${notice.join("\n")}\n\n`)
}

/** Asks until the key is typed as it was shown; Ctrl-C and end of file give up. */
async function typedBack(key: Uint8Array, timeout: number | undefined): Promise<void> {
  for (;;) {
    const typed = await readShown("Type the recovery key back", timeout)
    const faults = recoveryKeyFaults(typed, key)
    wipe(typed)
    if (faults.length === 0) return
    err.line(`Not the key shown above: ${faults.join("; ")}.`)
  }
}

/** What is said of a key that is shown. */
export interface KeyWords {
  readonly title: string
  readonly notice: readonly string[]
}

const VOLUME_WORDS: KeyWords = { title: "This is the recovery key:", notice: recoveryKeyNotice() }

/**
 * Runs `work` with a new recovery key. `work` calls `deliver` once all is made
 * and nothing is written: when it returns, the key is on stable storage, or on
 * the terminal and typed back where that was asked for. A file goes again when
 * `work` fails or is interrupted.
 */
export function withRecoveryKey<T>(
  options: RecoveryOptions,
  work: (key: Uint8Array, deliver: () => Promise<void>) => Promise<T>,
): Promise<T> {
  return withSecret(makeRecoveryKey(), (key) =>
    withDelivery(options, key, VOLUME_WORDS, (deliver) => work(key, deliver)),
  )
}

/** The same for a key that there is, which the caller wipes. */
export function withDelivery<T>(
  options: RecoveryOptions,
  key: Uint8Array,
  words: KeyWords,
  work: (deliver: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const file = options.recoveryKeyFile
  if (file === undefined) {
    return work(async () => {
      show(key, options.qr === true, words)
      if (options.confirmRecoveryKey === true) await typedBack(key, options.timeout)
    })
  }
  let written = false
  const undo = () => {
    if (written) rmSync(file, { force: true })
  }
  return undoneWhenInterrupted(undo, async () => {
    try {
      return await work(async () => {
        writeNewFile(file, key, () => {
          written = true
        })
      })
    } catch (error) {
      undo()
      throw error
    }
  })
}

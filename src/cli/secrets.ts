/**
 * Reads passphrases by cryptsetup's rules: a key file is read
 * whole, a terminal's line and a pipe's first line lose their newline. Secrets
 * are bytes, in buffers of their own (never a slice of Node's pool), and are
 * wiped by whoever asked for them.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { isatty } from "node:tty"
import { Exit, TresorError } from "../base/errors.ts"
import { visibleLine } from "../base/visible.ts"
import { readPassphrase, restoreTerminal } from "../native/addon.ts"
import { echoIsOff } from "./terminal.ts"

/** cryptsetup's compiled-in limits. */
const KEYFILE_LIMIT = 8 * 1024 * 1024
const PASSPHRASE_LIMIT = 512

const NEWLINE = 10

export interface SecretSource {
  readonly keyFile?: string
  /** Bytes to read; all when absent or 0. */
  readonly keyfileSize?: number
  /** Bytes to skip. */
  readonly keyfileOffset?: number
  /** Seconds to wait for a line on the terminal, or for an agent; no limit when absent. */
  readonly timeout?: number
  /** Ask systemd's password agents. */
  readonly passwordAgent?: true
  /** Share the answer with other questions of ours. */
  readonly passwordCache?: true
  /** Withdraws the agents' question. */
  readonly signal?: AbortSignal
}

export function wipe(...buffers: readonly (Uint8Array | undefined | null)[]): void {
  for (const buffer of buffers) buffer?.fill(0)
}

/** Runs `work` with a secret and wipes it however that ends. */
export async function withSecret<T>(
  secret: Uint8Array | Promise<Uint8Array>,
  work: (secret: Uint8Array) => Promise<T>,
): Promise<T> {
  const bytes = await secret
  try {
    return await work(bytes)
  } finally {
    wipe(bytes)
  }
}

/** Whether the answer would be typed: then it can be asked for again. */
export function isInteractive(source: SecretSource): boolean {
  if (source.passwordAgent === true) return source.keyFile === undefined
  return (source.keyFile === undefined || source.keyFile === "-") && isatty(0)
}

/**
 * Reads from `fd` until `size` bytes, the end, or (stopAtNewline) a newline,
 * one byte at a time there: what follows the line belongs to the next reader.
 */
function readBytes(
  fd: number,
  offset: number,
  size: number,
  exact: boolean,
  stopAtNewline: boolean,
  what: string,
): Uint8Array {
  let buffer = Buffer.alloc(Math.min(size + 1, 4096))
  try {
    for (let skipped = 0; skipped < offset; ) {
      const got = read(fd, buffer, 0, Math.min(buffer.length, offset - skipped))
      if (got === 0)
        throw new TresorError(
          "KEYFILE_SHORT",
          Exit.badArguments,
          `Cannot seek to the requested offset in ${what}: it ends before`,
        )
      skipped += got
    }
    let length = 0
    for (;;) {
      if (length > size) {
        throw new TresorError(
          "KEYFILE_TOO_LONG",
          Exit.badArguments,
          `Cannot use ${what}: it is longer than ${size} bytes; limit it with --keyfile-size`,
        )
      }
      if (exact && length === size) break
      if (length === buffer.length) {
        const larger = Buffer.alloc(Math.min(size + 1, buffer.length * 4))
        buffer.copy(larger)
        buffer.fill(0)
        buffer = larger
      }
      const limit = exact ? Math.min(buffer.length, size) : buffer.length
      const got = read(fd, buffer, length, stopAtNewline ? 1 : limit - length)
      if (got === 0) break
      if (stopAtNewline && buffer[length] === NEWLINE) {
        return take(buffer, length)
      }
      length += got
    }
    if (exact && length < size) {
      throw new TresorError(
        "KEYFILE_SHORT",
        Exit.badArguments,
        `Cannot read ${size} bytes from ${what}: it has ${length}`,
      )
    }
    // An empty line or file is an empty passphrase; a pipe that says nothing is a mistake.
    if (length === 0 && stopAtNewline) {
      throw new TresorError("PASSPHRASE_EMPTY", Exit.badArguments, `Cannot read a passphrase: ${what} is empty`)
    }
    return take(buffer, length)
  } finally {
    buffer.fill(0)
  }
}

function take(buffer: Buffer, length: number): Uint8Array {
  const result = Buffer.alloc(length)
  buffer.copy(result, 0, 0, length)
  return result
}

/** read(2) that waits on a non-blocking standard input. */
function read(fd: number, buffer: Buffer, offset: number, length: number): number {
  for (;;) {
    try {
      return readSync(fd, buffer, offset, length, null)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === "EOF") return 0
      if (code !== "EAGAIN" && code !== "EINTR") throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
    }
  }
}

/** Bytes that must be there; `null`: all there are. As with cryptsetup, 0 asks for all. */
const exactSize = ({ keyfileSize = 0 }: SecretSource): number | null => (keyfileSize === 0 ? null : keyfileSize)

function fromFile(path: string, source: SecretSource): Uint8Array {
  let fd: number
  try {
    fd = openSync(path, "r")
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === "ENOENT" ? "no such file" : "not readable"
    throw new TresorError("KEYFILE_UNREADABLE", Exit.badArguments, `Cannot open key file ${path}: ${reason}`)
  }
  const size = exactSize(source)
  try {
    if (fstatSync(fd).isDirectory()) {
      throw new TresorError("KEYFILE_UNREADABLE", Exit.badArguments, `Cannot read key file ${path}: it is a directory`)
    }
    return readBytes(fd, source.keyfileOffset ?? 0, size ?? KEYFILE_LIMIT, size !== null, false, `key file ${path}`)
  } finally {
    closeSync(fd)
  }
}

/**
 * One passphrase. `verify` asks twice on a terminal; `again`: the one before was wrong. Throws with exit code 1
 * (nothing to read, file missing, too long) or 2 (the two differ).
 */
export async function readSecret(
  prompt: string,
  source: SecretSource,
  {
    verify = false,
    again = false,
    what = "passphrase",
  }: { readonly verify?: boolean; readonly again?: boolean; readonly what?: string } = {},
): Promise<Uint8Array> {
  if (source.keyFile !== undefined && source.keyFile !== "-") return fromFile(source.keyFile, source)
  if (source.passwordAgent === true) {
    const { askAgents } = await import("./password-agent.ts")
    const { timeout, signal } = source
    return askAgents({ prompt, timeout, cache: source.passwordCache === true, again, signal })
  }
  if (!isatty(0)) {
    const size = exactSize(source)
    return readBytes(
      0,
      source.keyfileOffset ?? 0,
      size ?? KEYFILE_LIMIT,
      size !== null,
      source.keyFile === undefined,
      "standard input",
    )
  }
  if (source.keyfileOffset !== undefined) {
    throw new TresorError("KEYFILE_OFFSET_TERMINAL", Exit.badArguments, "Cannot use --keyfile-offset with a terminal")
  }
  const first = await fromTerminal(`${prompt}: `, source.timeout)
  if (!verify) return first
  const second = await fromTerminal(`Verify ${what}: `, source.timeout)
  const same = Buffer.compare(first, second) === 0
  wipe(second)
  if (same) return first
  wipe(first)
  throw new TresorError("PASSPHRASES_DIFFER", Exit.denied, "Passphrases do not match.")
}

async function fromTerminal(prompt: string, timeout: number | undefined): Promise<Uint8Array> {
  const typed = await readPassphrase(visibleLine(prompt), PASSPHRASE_LIMIT, timeout ?? 0)
  echoIsOff(restoreTerminal)
  return typed
}

/** One line that is shown while it is typed: a recovery key is long, and copied from paper. */
export async function readShown(prompt: string, timeout: number | undefined): Promise<Uint8Array> {
  return readPassphrase(`${visibleLine(prompt)}: `, PASSPHRASE_LIMIT, timeout ?? 0, true)
}

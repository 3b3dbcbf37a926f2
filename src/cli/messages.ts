/** Messages for people. One line each: what could not be done, the fact, the way out. */
import { CommanderError } from "commander"
import { exitOfErrno } from "../base/errno.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"

/** cryptsetup's own words; scripts look for them. */
export const NO_KEY = "No key available with this passphrase."

/** Plain words for what the system said. */
const WORDS: Readonly<Record<string, string>> = {
  EPERM: "not permitted; try as root",
  ENOMEM: "out of memory",
  ENOENT: "no such file or directory",
  EACCES: "access denied; try as root",
  ENOTDIR: "a part of the path is not a directory",
  EISDIR: "it is a directory",
  ENXIO: "no such device",
  ENOSPC: "no space left on the device",
  EIO: "input/output error",
  EEXIST: "it exists already",
  EBUSY: "it is in use",
  EROFS: "the file system is read-only",
}

export interface Told {
  /** What goes to stderr; "" when it has been said already. */
  readonly line: string
  readonly exitCode: number
}

/** The passphrase may have been mistyped; what else is known is in the error. */
export function mayBeMistyped(error: unknown): boolean {
  return isWrongPassphrase(error) || (error instanceof TresorError && error.code === "KEYSLOT_UNTRIED")
}

export function isWrongPassphrase(error: unknown): boolean {
  return error instanceof TresorError && error.code === "ENCLAVE_PASSPHRASE"
}

/** Turns whatever was thrown into one line and cryptsetup's exit code. */
export function tell(error: unknown): Told {
  if (error instanceof CommanderError) return { line: "", exitCode: error.exitCode === 0 ? 0 : Exit.badArguments }
  if (isWrongPassphrase(error) && (error as TresorError).message === NO_KEY)
    return { line: NO_KEY, exitCode: Exit.denied }
  if (error instanceof TresorError)
    return { line: `tresor: error: ${oneLine(error.message)}`, exitCode: error.exitCode }
  const { code, path, syscall } = (error instanceof IoError ? error.cause : error) as NodeJS.ErrnoException
  if (typeof code === "string" && typeof syscall === "string") {
    const fact = WORDS[code] ?? code
    const what = path === undefined ? `${syscall} failed` : `Cannot use ${path}`
    return { line: `tresor: error: ${what}: ${fact}`, exitCode: exitOfErrno(code) }
  }
  const message = error instanceof Error ? error.message : String(error)
  return {
    line: `tresor: error: internal error: ${oneLine(message)}; TRESOR_DEBUG=1 shows where, please report it`,
    exitCode: Exit.badArguments,
  }
}

const FAILURES: Readonly<Record<number, string>> = {
  1: "wrong or missing parameters",
  2: "no permission or bad passphrase",
  3: "out of memory",
  4: "wrong device or file specified",
  5: "device already exists or device is busy",
}

/** What --verbose ends with, in cryptsetup's words. */
export const verdict = (exitCode: number): string =>
  exitCode === 0
    ? "Command successful."
    : `Command failed with code -${exitCode} (${FAILURES[exitCode] ?? "unknown error"}).`

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ")
}

export function recoveryKeyNotice(): readonly string[] {
  return [
    "Write it down and keep it away from this machine: if its CPU or board fails, or its Tresor",
    "state is lost, it is the only way in. It is shown once; cryptsetup opens the volume with it anywhere.",
  ]
}

export const nothingOpen = "No volumes are open."

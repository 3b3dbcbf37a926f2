/**
 * Where a volume's ciphertext lies. Offsets and lengths are bytes, safe
 * integers. A promise resolves only when the whole range was moved, and rejects
 * with IoError otherwise. What a store does not own it neither keeps nor wipes.
 */

export type Errno = "EPERM" | "EIO" | "ENOMEM" | "EINVAL" | "ENOSPC" | "EOVERFLOW" | "ENOTSUP" | "ESHUTDOWN"

export class IoError extends Error {
  override readonly name = "IoError"
  readonly code: Errno

  constructor(code: Errno, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

const KNOWN: ReadonlySet<string> = new Set(["EPERM", "ENOMEM", "EINVAL", "ENOSPC", "EOVERFLOW", "ENOTSUP", "ESHUTDOWN"])

/** Anything thrown, as the errno an NBD client is told; what has no name of its own is EIO. */
export function asIoError(error: unknown): IoError {
  if (error instanceof IoError) return error
  const { code, message } = error as NodeJS.ErrnoException
  if (code === "EDQUOT" || code === "EFBIG") return new IoError("ENOSPC", message, { cause: error })
  return new IoError(code !== undefined && KNOWN.has(code) ? (code as Errno) : "EIO", String(message), { cause: error })
}

export interface Store {
  readonly size: number
  readonly readOnly: boolean
  /** Whether `discard` gives space back; without it, it does nothing. */
  readonly discards: boolean
  /** A flush failed: nothing is written any more, until it is opened again. Absent: it recovers by itself. */
  readonly failed?: boolean
  /** Bytes; writes that are no multiples of it, or do not begin at one, are not atomic. Absent: 512 or less. */
  readonly minimumBlock?: number
  /** For I/O past this interface, through the page cache; `null`: there is no such way. */
  readonly fd: number | null
  read(offset: number, into: Uint8Array): Promise<void>
  /** `from` must not change until this has resolved. */
  write(offset: number, from: Uint8Array): Promise<void>
  /** Resolves when every write resolved before is on stable storage. */
  flush(): Promise<void>
  discard(offset: number, length: number): Promise<void>
  /** Looks at the backing storage again; the size it now has. */
  refresh(): Promise<number>
  close(): Promise<void>
}

/** Throws EINVAL for a range that does not lie inside `size`. */
export function checkRange(size: number, offset: number, length: number): void {
  if (
    !Number.isSafeInteger(offset) ||
    !Number.isSafeInteger(length) ||
    offset < 0 ||
    length < 0 ||
    offset > size - length
  ) {
    throw new IoError("EINVAL", `range ${offset}+${length} lies outside ${size} bytes`)
  }
}

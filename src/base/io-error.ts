/** I/O errors, by the errno that an NBD reply carries. Pure. */

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
  return new IoError(code !== undefined && KNOWN.has(code) ? (code as Errno) : "EIO", String(message), {
    cause: error,
  })
}

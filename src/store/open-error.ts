/** Errors of opening a file or block device, as messages. Pure. */
import { exitOfErrno } from "../base/errno.ts"
import type { ErrorCode } from "../base/error-codes.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { IoError } from "../base/io-error.ts"

/** `direct`: whether O_DIRECT was asked for. Codes: STORE_MISSING, STORE_DENIED, STORE_BUSY, STORE_UNFIT. */
export function openError(
  path: string,
  direct: boolean,
  error: NodeJS.ErrnoException,
  { readOnly = false, readonlyHelps = true }: { readonly readOnly?: boolean; readonly readonlyHelps?: boolean } = {},
): TresorError {
  const advise = readonlyHelps && !readOnly
  const refuse = (code: ErrorCode, fact: string) =>
    new TresorError(code, exitOfErrno(error.code), `Cannot open ${path}: ${fact}`, { cause: error })
  const unfit = (fact: string) =>
    new TresorError("STORE_UNFIT", Exit.wrongDevice, `Cannot open ${path}: ${fact}`, { cause: error })
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR":
      return refuse("STORE_MISSING", "no such file or device; `tresor create` makes one")
    case "ENXIO":
    case "ENODEV":
    case "ENOMEDIUM":
      return refuse("STORE_MISSING", "no device is behind it")
    case "EACCES":
    case "EPERM":
      return refuse(
        "STORE_DENIED",
        advise ? "permission denied; try --readonly, or another user" : "permission denied; try another user",
      )
    case "EROFS":
      return refuse(
        "STORE_DENIED",
        `it is write-protected, or lies on a read-only filesystem${advise ? "; use --readonly" : ""}`,
      )
    case "EBUSY":
    case "ETXTBSY":
      return refuse("STORE_BUSY", "it is mounted or used by another program; unmount or close it first")
    case "EISDIR":
      return unfit("it is a directory, not a file or block device")
    case "EINVAL":
      if (direct && !(error instanceof IoError)) {
        return unfit("its filesystem has no O_DIRECT; leave --direct out")
      }
      return unfit(error.message)
    default:
      return unfit(error.message)
  }
}

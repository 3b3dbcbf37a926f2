/** Exit codes for what the system says, as cryptsetup 2.6.1 has them (docs/decisions/0056). Pure. */
import { Exit, type ExitCode } from "./errors.ts"

/**
 * utils_tools.c, translate_errno, with what crypt_init makes of a path it cannot
 * open (-ENOTBLK, "does not exist or access denied") and of one in use.
 */
const BY_ERRNO: Readonly<Record<string, ExitCode>> = {
  EPERM: Exit.denied,
  ENOMEM: Exit.noMemory,
  ENOENT: Exit.wrongDevice,
  ENOTDIR: Exit.wrongDevice,
  EACCES: Exit.wrongDevice,
  ENOTBLK: Exit.wrongDevice,
  ENODEV: Exit.wrongDevice,
  ENXIO: Exit.wrongDevice,
  ENOMEDIUM: Exit.wrongDevice,
  EISDIR: Exit.wrongDevice,
  ENOSPC: Exit.wrongDevice,
  EIO: Exit.wrongDevice,
  EEXIST: Exit.busy,
  EBUSY: Exit.busy,
  ETXTBSY: Exit.busy,
}

/** `code`: Node's name of an errno. `otherwise`: for what has no exit code of its own; cryptsetup's is 1. */
export function exitOfErrno(code: string | undefined, otherwise: ExitCode = Exit.badArguments): ExitCode {
  return BY_ERRNO[code ?? ""] ?? otherwise
}

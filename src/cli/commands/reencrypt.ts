/** `tresor reencrypt`: of a name that is open, or of a file or device. */
import { Exit, TresorError } from "../../base/errors.ts"
import { isOpen, openAs } from "../../control/in-use.ts"
import { checkMode, type ReencryptOptions, reencryptClosed } from "./reencrypt-closed.ts"
import { reencryptOpen } from "./reencrypt-open.ts"

function onlyClosed(name: string, { encrypt }: ReencryptOptions): TresorError {
  const what = encrypt === true ? "encrypt" : "decrypt"
  return new TresorError(
    "VOLUME_IN_USE",
    Exit.busy,
    `Cannot ${what} ${name}: it is open; \`tresor close ${name}\`, then name its file or device: \`tresor reencrypt --${what} PATH\``,
  )
}

/** A name that is open, or a path: then whether it is open is looked at. */
export async function reencrypt(what: string, options: ReencryptOptions): Promise<void> {
  const name = isOpen(what) ? what : openAs(what)
  const inPlace = options.encrypt === true || options.decrypt === true
  if (inPlace && isOpen(what)) throw onlyClosed(what, options)
  if (name !== null && !inPlace) {
    checkMode(what, options)
    return reencryptOpen(name, options)
  }
  if (options.pause !== true) return reencryptClosed(what, options)
  throw new TresorError(
    "NOT_OPEN",
    Exit.badArguments,
    `Cannot pause ${what}: it is not open; one that runs on a closed volume is paused by SIGINT or SIGTERM`,
  )
}

/** `tresor isLuks`: an answer for scripts, in the exit code alone. */
import { Exit, TresorError } from "../../base/errors.ts"
import { readCopies } from "../../header/copies.ts"
import { openForHeader } from "../../header/open.ts"
import type { Store } from "../../store/store.ts"

export interface IsLuksOptions {
  readonly type: "luks" | "luks1" | "luks2"
  readonly header?: string
}

/** `null`: neither, or nothing of it can be read. */
async function versionOf(device: Store): Promise<1 | 2 | null> {
  try {
    await device.locked("shared", () => readCopies(device))
    return 2
  } catch (error) {
    if (!(error instanceof TresorError)) throw error
    if (error.code === "LUKS1") return 1
    if (["NOT_LUKS", "LUKS2_BROKEN", "LUKS2_INVALID"].includes(error.code)) return null
    throw error
  }
}

/** Exit 0: it is; 1: it is not; 4: there is no such device. */
export async function isLuks(path: string, { type, header }: IsLuksOptions): Promise<void> {
  const device = await openForHeader(header ?? path, { readOnly: true })
  try {
    const version = await versionOf(device)
    const wanted = type === "luks" ? version !== null : type === `luks${version}`
    if (!wanted) process.exitCode = Exit.badArguments
  } finally {
    await device.close()
  }
}

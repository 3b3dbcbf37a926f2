import { Exit, TresorError } from "../../base/errors.ts"
import { visibleLine } from "../../base/visible.ts"
import { HeaderStore } from "../../header/header-store.ts"
import { openForHeader } from "../../header/open.ts"
import { wipeKeyslots } from "../../keyslots/wipe.ts"
import { keyslotsArea } from "../../luks2/areas.ts"
import type { Store } from "../../store/store.ts"
import { ask } from "../confirm.ts"
import { out } from "../output/output.ts"
import { progressBar } from "../progress.ts"

export interface WipeOptions {
  readonly header?: string
  readonly batchMode?: true
}

/** The same device, telling how many bytes have been written. */
function counting(device: Store, written: (bytes: number) => void): Store {
  return new Proxy(device, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown
      if (name === "write") {
        return async (offset: number, bytes: Uint8Array) => {
          await target.write(offset, bytes)
          written(bytes.length)
        }
      }
      return typeof value === "function" ? value.bind(target) : value
    },
  })
}

export async function wipe(path: string, options: WipeOptions): Promise<void> {
  using bar = progressBar("Wiping the keyslots")
  let total = Number.POSITIVE_INFINITY
  let done = 0
  const device = counting(await openForHeader(options.header ?? path, { readOnly: false }), (bytes) => {
    done += bytes
    bar.update(Math.min(done / total, 1))
  })
  try {
    const store = await HeaderStore.open(device)
    const { uuid } = store.header
    if (options.batchMode !== true) {
      const answer = await ask(
        `This destroys all keyslots of ${visibleLine(path)}: all data is lost permanently, even with the recovery key.\nType the volume's UUID, ${visibleLine(uuid)}: `,
      )
      if (answer.trim().toLowerCase() !== uuid.toLowerCase()) {
        throw new TresorError(
          "NOT_CONFIRMED",
          Exit.denied,
          `Nothing was destroyed: the text is not the UUID of ${path}`,
        )
      }
    }
    const { offset, end } = keyslotsArea(store.header)
    total = Number(end - offset)
    const destroyed = await wipeKeyslots({ store, path })
    out.line(
      destroyed.length === 0
        ? "There was no keyslot; the keyslots area was wiped."
        : `${destroyed.length} keyslots destroyed.`,
    )
  } finally {
    await device.close()
  }
}

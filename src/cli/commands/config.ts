/** `tresor config`: what a header says of itself and its keyslots, by cryptsetup's words. */
import { Exit, TresorError } from "../../base/errors.ts"
import { checkLabel } from "../../keyslots/create.ts"
import { setPriority } from "../../keyslots/priority.ts"
import type { LuksHeader } from "../../luks2/metadata.ts"
import { withHeader } from "../keeper.ts"

/** `normal` is not written. */
const PRIORITIES = { ignore: 0, normal: null, prefer: 2 } as const

export interface ConfigOptions {
  readonly priority?: keyof typeof PRIORITIES
  readonly keySlot?: number
  readonly label?: string
  readonly subsystem?: string
  readonly header?: string
}

/** Throws USAGE (exit 1). */
function check({ priority, keySlot, label, subsystem }: ConfigOptions): void {
  const usage = (fact: string) => new TresorError("USAGE", Exit.badArguments, `Cannot configure a volume: ${fact}`)
  if (priority === undefined && label === undefined && subsystem === undefined)
    throw usage("give --priority, --label or --subsystem")
  if (priority !== undefined && keySlot === undefined) throw usage("--priority needs --key-slot")
}

export async function config(path: string, options: ConfigOptions): Promise<void> {
  check(options)
  const { priority, keySlot } = options
  const label = options.label === undefined ? undefined : checkLabel(options.label)
  const subsystem = options.subsystem === undefined ? undefined : checkLabel(options.subsystem, "subsystem")
  const change = (header: LuksHeader): LuksHeader => ({
    ...header,
    label: label ?? header.label,
    subsystem: subsystem ?? header.subsystem,
    metadata:
      priority === undefined || keySlot === undefined
        ? header.metadata
        : setPriority(header.metadata, keySlot, PRIORITIES[priority]),
  })
  await withHeader(path, options.header, { readOnly: false }, async (store) => {
    await store.update(async (header) => ({ header: change(header) }), { unproved: true })
  })
}

import { isLuksKeyslot, volumeSlots } from "../../luks2/operations/metadata-edit.ts"
import { slotStrengths } from "../../luks2/operations/strength.ts"
import { out } from "../../output/output.ts"
import { withHeader } from "../keeper.ts"
import { table } from "../table.ts"

export interface ListOptions {
  readonly header?: string
  readonly json?: true
}

const KINDS = { tresor: "tresor", recovery: "recovery key", portable: "passphrase", unbound: "unbound" } as const
const PRIORITY = ["ignored", "normal", "preferred"] as const

/** Every keyslot, those of other programs too; `key list --json` prints the same as objects. */
export async function list(path: string, options: ListOptions): Promise<void> {
  await withHeader(path, options.header, { readOnly: true }, async ({ header: { metadata } }) => {
    const known = new Map(slotStrengths(metadata).map((each) => [each.slot, each]))
    const holders = volumeSlots(metadata)
    const slots = [...metadata.keyslots].map(([slot, keyslot]) => {
      const strength = known.get(slot)
      return {
        slot,
        kind: strength?.kind ?? (holders.includes(slot) ? ("portable" as const) : ("unbound" as const)),
        type: keyslot.type,
        priority: PRIORITY[isLuksKeyslot(keyslot) ? (keyslot.priority ?? 1) : 1],
        tokens: strength?.tokens ?? [],
        strength: strength?.strength ?? null,
        why: strength?.why ?? (isLuksKeyslot(keyslot) ? "holds another key than the volume's" : "of another program"),
      }
    })
    if (options.json === true) {
      out.json(slots)
    } else if (slots.length === 0) {
      out.line("No keyslots are in use.")
    } else {
      const rows = slots.map(({ slot, kind, priority, strength, why }) => [
        String(slot),
        KINDS[kind],
        priority,
        strength ?? "",
        why,
      ])
      out.text(table(["SLOT", "KIND", "PRIORITY", "STRENGTH", "WHY"], rows, out.columns))
    }
  })
}

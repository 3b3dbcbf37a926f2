import { isLuksKeyslot, volumeSlots } from "../../keyslots/metadata-edit.ts"
import { slotStrengths } from "../../keyslots/strength.ts"
import type { Metadata } from "../../luks2/metadata.ts"
import { withHeader } from "../keeper.ts"
import { out } from "../output/output.ts"
import { shade } from "../output/state.ts"
import { table } from "../table.ts"

export interface ListOptions {
  readonly header?: string
  readonly json?: true
}

const KINDS = { tresor: "tresor", recovery: "recovery key", portable: "passphrase", unbound: "unbound" } as const
/** The colours of key list and recover. */
export const STRENGTHS = { strong: "good", passphrase: "fair", unknown: "fair", weak: "bad" } as const

const PRIORITY = ["ignored", "normal", "preferred"] as const

/** Why a keyslot, or the token it is opened with, cannot be used. */
function faultOf(metadata: Metadata, slot: number): string | null {
  const keyslot = metadata.keyslots.get(slot)
  const tokens = [...metadata.tokens.values()].filter((token) => token.keyslots.includes(slot))
  const found = [keyslot, ...tokens].find((item) => item !== undefined && "fault" in item && item.fault !== undefined)
  return found !== undefined && "fault" in found && found.fault !== undefined
    ? `cannot be used: ${found.fault.fact}`
    : null
}

/** Every keyslot, those of other programs too; `key list --json` prints the same as objects. */
export async function list(path: string, options: ListOptions): Promise<void> {
  await withHeader(path, options.header, { readOnly: true }, async ({ header: { metadata } }) => {
    const known = new Map(slotStrengths(metadata).map((each) => [each.slot, each]))
    const holders = volumeSlots(metadata)
    const slots = [...metadata.keyslots].map(([slot, keyslot]) => {
      const fault = faultOf(metadata, slot)
      const strength = fault === null ? known.get(slot) : undefined
      return {
        slot,
        kind: strength?.kind ?? (holders.includes(slot) ? ("portable" as const) : ("unbound" as const)),
        type: keyslot.type,
        priority: PRIORITY[isLuksKeyslot(keyslot) ? (keyslot.priority ?? 1) : 1],
        tokens: strength?.tokens ?? [],
        strength: strength?.strength ?? null,
        made: strength?.made ?? null,
        why:
          fault ??
          strength?.why ??
          (isLuksKeyslot(keyslot) ? "holds another key than the volume's" : "of another program"),
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
        strength === null ? "" : shade(STRENGTHS[strength], strength),
        why,
      ])
      out.text(table(["SLOT", "KIND", "PRIORITY", "STRENGTH", "WHY"], rows, out.columns))
    }
  })
}

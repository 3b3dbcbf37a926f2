/** `tresor uuid` and `tresor label`: shown, or set. */
import { Exit, TresorError } from "../../base/errors.ts"
import { checkNotOpen } from "../../control/in-use.ts"
import { checkLabel, checkUuid } from "../../keyslots/create.ts"
import type { LuksHeader, Metadata } from "../../luks2/metadata.ts"
import { isTresorToken, sealerOf } from "../../luks2/tresor-token.ts"
import { withHeader } from "../keeper.ts"
import { out } from "../output/output.ts"

export interface LabelOptions {
  readonly header?: string
}

export async function label(path: string, text: string | undefined, options: LabelOptions): Promise<void> {
  const wanted = text === undefined ? undefined : checkLabel(text)
  await withHeader(path, options.header, { readOnly: wanted === undefined }, async (store) => {
    if (wanted === undefined) out.line(`${store.header.label}`)
    else await store.update(async (header) => ({ header: { ...header, label: wanted } }), { unproved: true })
  })
}

const sealedUuids = ({ tokens }: Metadata): string[] =>
  [...tokens.values()].filter(isTresorToken).map(({ sealed }) => sealerOf(sealed).uuid)

/**
 * Seals and MACs are bound to the UUID: it cannot change under them, but it
 * can be set back to theirs. Throws UUID_BOUND (exit 1).
 */
export async function uuid(path: string, text: string | undefined, options: LabelOptions): Promise<void> {
  if (text === undefined) {
    await withHeader(path, options.header, { readOnly: true }, async ({ header }) => {
      out.line(`${header.uuid}`)
    })
    return
  }
  const wanted = checkUuid(text)
  for (const each of new Set([path, options.header ?? path])) checkNotOpen(each, "change the UUID of")
  await withHeader(path, options.header, { readOnly: false }, async (store) => {
    const change = async (header: LuksHeader) => {
      if (header.uuid !== wanted && sealedUuids(header.metadata).some((uuid) => uuid !== wanted)) {
        throw new TresorError(
          "UUID_BOUND",
          Exit.badArguments,
          `Cannot change the UUID of ${path}: its Tresor passphrases are sealed to ${sealedUuids(header.metadata)[0]}; ` +
            "`tresor release` it, change the UUID, `tresor adopt` it again",
        )
      }
      return { header: { ...header, uuid: wanted } }
    }
    await store.update(change, { unproved: true })
  })
}

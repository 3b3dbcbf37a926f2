/** The objects of a header that are kept and not used, by name. Pure. */
import type { Metadata } from "./metadata.ts"
import type { Fault } from "./reader.ts"

export interface NamedFault extends Fault {
  /** "keyslot 3", "token 0 of keyslots 0, 1". */
  readonly name: string
}

export function faultsOf({ keyslots, digests, tokens }: Metadata): readonly NamedFault[] {
  const all = [
    ...[...keyslots].map(([slot, item]) => [`keyslot ${slot}`, item] as const),
    ...[...digests].map(([number, item]) => [`digest ${number}`, item] as const),
    ...[...tokens].map(([number, item]) => [`token ${number} of keyslots ${item.keyslots.join(", ")}`, item] as const),
  ]
  return all.flatMap(([name, item]) => ("fault" in item && item.fault !== undefined ? [{ ...item.fault, name }] : []))
}

/** "keyslot 3 cannot be used: keyslots.3.kdf.salt is not base64". */
export const faultWords = ({ name, fact }: NamedFault): string => `${name} cannot be used: ${fact}`

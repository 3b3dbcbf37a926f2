/** Findings of `tresor check` in a header, beyond faults that make it invalid. Pure. */

import { faultsOf, faultWords } from "../luks2/faults.ts"
import type { LuksHeader, Metadata } from "../luks2/metadata.ts"
import { foreignKind, PASS_TOKEN, reencryptionOf } from "../luks2/reencryption.ts"
import { positionOf, reencryptionWords } from "../luks2/reencryption-position.ts"
import { tampering, tamperingWords } from "../luks2/tampering.ts"
import type { FoundCopies, FoundCopy } from "./copies.ts"

export interface Finding {
  /** "damage" wants repair; "remark" is worth knowing and no fault. */
  readonly kind: "sound" | "damage" | "remark"
  readonly text: string
}

const sound = (text: string): Finding => ({ kind: "sound", text })
const damage = (text: string): Finding => ({ kind: "damage", text })
const remark = (text: string): Finding => ({ kind: "remark", text })

function ofCopy(found: FoundCopy, { header: newest, json }: FoundCopies): Finding {
  const name = found.copy === "primary" ? "first header" : "second header"
  const where = found.offset === null ? "" : ` at ${found.offset}`
  if ("fault" in found) return damage(`${name}${where}: ${found.fault}`)
  const { sequenceId } = found.header
  if (sequenceId < newest.sequenceId) {
    return damage(`${name}${where}: older than the other (sequence id ${sequenceId}, newest ${newest.sequenceId})`)
  }
  if (found.json !== json) return damage(`${name}${where}: not the same as the other, with the same sequence id`)
  return sound(`${name}${where}: checksum holds, sequence id ${sequenceId}`)
}

/** Keyslots nothing opens, tokens and digests nothing uses. */
function ofReferences({ keyslots, digests, tokens }: Metadata): Finding[] {
  const findings: Finding[] = []
  for (const [slot, keyslot] of keyslots) {
    const digest = [...digests.values()].find((each) => each.keyslots.includes(slot))
    if (digest?.segments.length === 0) findings.push(remark(`keyslot ${slot}: unbound, its key opens no segment`))
    if ("foreign" in keyslot && keyslot.fault === undefined)
      findings.push(remark(`keyslot ${slot}: of type ${keyslot.type}, which another program uses`))
  }
  for (const [number, digest] of digests) {
    if (digest.keyslots.length === 0)
      findings.push(remark(`digest ${number}: no keyslot left; only its volume key opens it`))
  }
  for (const [number, token] of tokens) {
    if (token.keyslots.length === 0 && token.type !== PASS_TOKEN)
      findings.push(remark(`token ${number} (${token.type}): names no keyslot`))
    if ("foreign" in token) continue
    for (const slot of token.mac.keyslots.keys()) {
      if (!keyslots.has(slot)) findings.push(remark(`token ${number}: has a MAC of keyslot ${slot}, which was removed`))
    }
    for (const slot of keyslots.keys()) {
      if (!token.mac.keyslots.has(slot)) findings.push(remark(`keyslot ${slot}: not authenticated by token ${number}`))
    }
  }
  return findings
}

/** The keyslots area, or a segment, reaches past the end of what holds it. */
function ofSize({ headerSize, metadata }: LuksHeader, { deviceSize, detached }: Device): Finding[] {
  const end = 2 * headerSize + Number(metadata.config.keyslotsSize)
  const findings: Finding[] = []
  if (end > deviceSize) findings.push(damage(`the keyslots area ends at ${end}, the device at ${deviceSize}`))
  for (const [number, { offset, size }] of detached ? [] : metadata.segments) {
    if (size !== null && offset !== 0n && Number(offset + size) > deviceSize) {
      findings.push(damage(`segment ${number} ends at ${offset + size}, the device at ${deviceSize}`))
    }
  }
  return findings
}

/** A reencryption that is pending, and what is not known. */
function ofRequirements({ metadata }: LuksHeader, deviceSize: number): Finding[] {
  const pending = reencryptionOf(metadata)
  if (pending === null) {
    return metadata.config.requirements.map((name) => remark(`requires ${name}, which Tresor does not support`))
  }
  const where = positionOf(metadata, pending)
  const room = BigInt(deviceSize) - pending.previous.offset
  const total = pending.previous.size ?? (pending.previous.offset > 0n && room > 0n ? room : null)
  const kind = foreignKind(pending)
  const program = kind === null ? "`tresor reencrypt --resume`" : "`cryptsetup reencrypt --resume-only`"
  // Nobody is sent on with a header that was tampered with.
  const way = tampering(metadata) === null ? `; ${program} goes on` : ""
  const words = remark(`reencryption pending: ${reencryptionWords(metadata, pending, total)}${way}`)
  return typeof where === "string" && kind === null ? [words, damage(`reencryption: ${where}`)] : [words]
}

/** What holds a header. */
interface Device {
  readonly deviceSize: number
  /** The data are elsewhere. */
  readonly detached: boolean
}

/** `other`: another format found where a copy is broken. A header that could be read: checksums, references, overlaps (those make a copy invalid), reachability. */
export function examine(
  found: FoundCopies,
  deviceSize: number,
  other: string | null = null,
  detached = false,
): readonly Finding[] {
  const { header } = found
  const { keyslots, tokens } = header.metadata
  const tampered = tampering(header.metadata)
  return [
    ...(tampered === null ? [] : [damage(tamperingWords(tampered))]),
    ofCopy(found.primary, found),
    ofCopy(found.secondary, found),
    ...(other === null ? [] : [damage(`it holds ${other} too: ambiguous signatures, nothing is written over it`)]),
    sound(`keyslots: ${keyslots.size}, tokens: ${tokens.size}; no areas overlap, every reference resolves`),
    ...ofSize(header, { deviceSize, detached }),
    ...faultsOf(header.metadata).map((fault) => (fault.damaged ? damage : remark)(faultWords(fault))),
    ...ofReferences(header.metadata),
    ...ofRequirements(header, deviceSize),
  ]
}

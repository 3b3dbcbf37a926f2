/**
 * What a client asks an enclave to do with its passphrase, as the context of the
 * sealed request names it (abi/enclave.h, struct tresor_context): the enclave
 * refuses any other request. Pure; runs in a browser too.
 */
import * as abi from "../abi/enclave.ts"
import { type Encodable, encode, type Struct } from "../abi/struct.ts"
import { concat } from "../base/bytes.ts"
import { fromHex } from "../base/hex.ts"
import type { Digest, Header, Kdf, KeyslotParameters, PublicHeader, Segment } from "../luks2/types.ts"
import {
  digestFields,
  freshDigestFields,
  freshKeyslotFields,
  kdfFields,
  keyed,
  keyslotFields,
  passFields,
  progressFields,
  publicHeader,
  segmentFields,
} from "./marshal.ts"
import type { AskedPass, RequestContext, SealPolicy } from "./types.ts"

/** A request about a header: which keyslots are tried is in it. */
interface AskedOfHeader {
  readonly header: Header | PublicHeader
  /** The only keyslot that may be tried; `null`: all that are marked. */
  readonly slot: number | null
}

export type Asked =
  | {
      readonly purpose: "create"
      readonly uuid: string
      readonly segment: Segment
      readonly digest: Pick<Digest, "hash" | "iterations">
      readonly fresh: KeyslotParameters
      readonly policy: SealPolicy
    }
  | (AskedOfHeader & { readonly purpose: "unlock" | "authenticate" })
  | (AskedOfHeader & { readonly purpose: "enrol"; readonly fresh: KeyslotParameters; readonly policy: SealPolicy })
  | (AskedOfHeader & {
      readonly purpose: "succeed"
      /** MRENCLAVE, hex. */
      readonly successor: string
      readonly policy: SealPolicy
      readonly downgrade: boolean
    })
  | (AskedOfHeader & {
      readonly purpose: "approve"
      /** MRENCLAVE, hex. */
      readonly successor: string
    })
  | { readonly purpose: "reencrypt"; readonly pass: AskedPass<Header | PublicHeader> }
  | { readonly purpose: "legacy"; readonly uuid: string; readonly kdf: Kdf; readonly make: SealPolicy | null }

/** The context of a sealed request, less the nonce. */
export type RequestBinding = Omit<RequestContext, "nonce">

// biome-ignore lint/suspicious/noExplicitAny: any struct
function bytesOf<S extends Struct<any>>(type: S, value: Encodable<S>): Uint8Array {
  const bytes = new Uint8Array(type.size)
  encode(type, value, bytes)
  return bytes
}

const words = (...values: readonly number[]) => new Uint8Array(new Uint32Array(values).buffer)

async function sha256(label: string, parts: readonly Uint8Array[]): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(new TextEncoder().encode(label), ...parts)))
}

const LABEL = "tresor request v2"
const LEGACY_LABEL = "tresor legacy v2"
const PASS_LABEL = "tresor reencrypt v1"

function shown(header: Header | PublicHeader): PublicHeader {
  return "macs" in header ? publicHeader(header) : header
}

/** Digest of a request about a header that is there. */
function ofHeader(
  purpose: "unlock" | "authenticate" | "enrol" | "succeed" | "reencrypt" | "approve",
  header: PublicHeader,
  {
    policy = null,
    fresh = null,
    successor = null,
  }: {
    readonly policy?: SealPolicy | null
    readonly fresh?: KeyslotParameters | null
    readonly successor?: string | null
  } = {},
): Promise<Uint8Array> {
  const { segment, digest, keyslots, authenticated } = header
  return sha256(LABEL, [
    words(abi.Purpose[purpose], policy === null ? 0 : abi.SealPolicy[policy], authenticated ? 1 : 0, keyslots.length),
    bytesOf(abi.segment, segmentFields(segment)),
    bytesOf(abi.digest, digestFields(digest)),
    ...keyslots.map((each) => bytesOf(abi.keyslot, keyslotFields(each))),
    bytesOf(abi.keyslot, fresh === null ? {} : freshKeyslotFields(fresh)),
    ...(successor === null ? [] : [fromHex(successor)!]),
  ])
}

const triesUnsealed = ({ keyslots }: PublicHeader): boolean =>
  keyslots.some(({ tried, sealedSize }) => tried && sealedSize === 0)

async function ofPass(pass: AskedPass<Header | PublicHeader>): Promise<RequestBinding> {
  const { progress, resumed } = pass
  const headers = keyed(pass).map(shown)
  const request = await sha256(PASS_LABEL, [
    ...(await Promise.all(headers.map((header) => ofHeader("reencrypt", header)))),
    bytesOf(abi.pass, passFields(pass)),
    bytesOf(abi.progress, progressFields(progress)),
    words(resumed === null ? 1 : 0, resumed?.mac === null ? 1 : 0, abi.PassUse[pass.use]),
  ])
  const unsealed = headers.some(triesUnsealed)
  return { purpose: "reencrypt", uuid: headers[0]!.uuid, slot: null, freshSlot: null, unsealed, request }
}

/** What a sealed request for this is bound to. */
export async function bindingOf(asked: Asked): Promise<RequestBinding> {
  const { purpose } = asked
  if (purpose === "create") {
    const { uuid, segment, digest, fresh, policy } = asked
    const request = await sha256(LABEL, [
      words(abi.Purpose.create, abi.SealPolicy[policy], 0, 0),
      bytesOf(abi.segment, segmentFields(segment)),
      bytesOf(abi.digest, freshDigestFields(digest)),
      bytesOf(abi.keyslot, freshKeyslotFields(fresh)),
    ])
    return { purpose, uuid, slot: null, freshSlot: fresh.slot, unsealed: fresh.passphraseKdf === null, request }
  }
  if (purpose === "legacy") {
    const { uuid, kdf, make } = asked
    const request = await sha256(LEGACY_LABEL, [
      words(make === null ? 0 : 1, make === null ? 0 : abi.SealPolicy[make]),
      bytesOf(abi.kdf, kdfFields(kdf)),
    ])
    return { purpose, uuid, slot: null, freshSlot: null, unsealed: false, request }
  }
  if (purpose === "reencrypt") return ofPass(asked.pass)
  const header = shown(asked.header)
  const fresh = purpose === "enrol" ? asked.fresh : null
  return {
    purpose,
    uuid: header.uuid,
    slot: asked.slot,
    freshSlot: fresh?.slot ?? null,
    unsealed: triesUnsealed(header) || fresh?.passphraseKdf === null,
    ...(purpose === "succeed" ? { downgrade: asked.downgrade } : {}),
    request: await ofHeader(purpose, header, {
      policy: purpose === "enrol" || purpose === "succeed" ? asked.policy : null,
      fresh,
      successor: purpose === "succeed" || purpose === "approve" ? asked.successor : null,
    }),
  }
}

/**
 * SHA-256 that names a header whichever of its keyslots are tried: what a client
 * remembers of a volume on another machine.
 */
export function headerDigest(header: Header | PublicHeader): Promise<Uint8Array> {
  const { keyslots, ...rest } = shown(header)
  return ofHeader("unlock", { ...rest, keyslots: keyslots.map((each) => ({ ...each, tried: false })) })
}

/** Which keyslots a passphrase is tried on: the one named, else those marked; unsealed ones when admitted. */
export function admitted<
  K extends { readonly slot: number; readonly tried: boolean; readonly passphraseKdf: Kdf | null },
>(keyslots: readonly K[], { slot, unsealed }: { readonly slot: number | null; readonly unsealed: boolean }): K[] {
  return keyslots.map((each) => ({
    ...each,
    tried: (slot === null ? each.tried : each.slot === slot) && (unsealed || each.passphraseKdf !== null),
  }))
}

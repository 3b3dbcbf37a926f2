/**
 * Enclaves seen before: ~/.config/tresor/known-enclaves, what ssh's known_hosts
 * is to host keys. One enclave a line, blank lines and # comments stay:
 *
 *   <host> <backend> <mrenclave> <mrsigner> <isvprodid> <isvsvn> [former]
 *
 * `host` is as named to --remote, without the user; "local" is this machine. A former one was followed by another: it
 * may be asked to hand a keyslot over to that (docs/decisions/0060), and for nothing else.
 */
import { join } from "node:path"
import type { Backend } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import type { ReleaseSigners } from "../enclave/release-signers.ts"
import { changeList, configDir, readList } from "./config-file.ts"
import type { Identity } from "./judge/policy.ts"

export const LOCAL = "local"

export interface Known {
  /** From 1. */
  readonly line: number
  readonly host: string
  readonly backend: Backend
  readonly mrenclave: string
  readonly mrsigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  readonly former: boolean
}

/** What is pinned of an enclave. */
export type Seen = Omit<Identity, "debug"> & { readonly backend: Backend }

const LINE = /^(\S+)\s+(software|sgx)\s+([0-9a-f]{64})\s+([0-9a-f]{64})\s+(\d{1,5})\s+(\d{1,5})(\s+former)?$/

export const knownEnclavesPath = (): string => join(configDir(), "known-enclaves")

/** Throws TresorError KNOWN_ENCLAVES_BAD naming the line: half a list would be asked about as a first contact. */
export function parseKnown(text: string, path: string): Known[] {
  const known: Known[] = []
  text.split("\n").forEach((content, index) => {
    const line = index + 1
    const entry = content.trim()
    if (entry === "" || entry.startsWith("#")) return
    const match = LINE.exec(entry)
    if (match === null) {
      throw new TresorError(
        "KNOWN_ENCLAVES_BAD",
        Exit.denied,
        `Cannot use ${path}: line ${line} is damaged; correct or remove it`,
      )
    }
    const [, host, backend, mrenclave, mrsigner, isvProdId, isvSvn, former] = match
    known.push({
      line,
      host: host!,
      backend: backend as Backend,
      mrenclave: mrenclave!,
      mrsigner: mrsigner!,
      isvProdId: Number(isvProdId),
      isvSvn: Number(isvSvn),
      former: former !== undefined,
    })
  })
  return known
}

export const formatKnown = (host: string, seen: Seen): string =>
  [host, seen.backend, seen.mrenclave, seen.mrsigner, seen.isvProdId, seen.isvSvn].join(" ")

/** The name an enclave is known under. A space or # would change what the line says. */
export function hostName(remote: string | undefined): string {
  if (remote === undefined) return LOCAL
  const host = remote.slice(remote.lastIndexOf("@") + 1).toLowerCase()
  if (!/^[^\s#]+$/.test(host) || host === LOCAL) {
    throw new TresorError(
      "KNOWN_ENCLAVES_HOST",
      Exit.badArguments,
      `Cannot pin an enclave of "${remote}": no host name`,
    )
  }
  return host
}

/** What a new image of a known host is judged by. */
export interface Ground {
  readonly signers: ReleaseSigners
  /** The image of this program's installation; `null`: it is not built. */
  readonly own: { readonly mrenclave: string } | null
  /** It is to hand a keyslot over to the enclave that follows it. */
  readonly predecessor: boolean
}

export type Recognition =
  | { readonly kind: "known" | "upgraded" | "follows" | "changed"; readonly entry: Known }
  | { readonly kind: "unknown" }

/**
 * "upgraded": another image of the same product by the same release key, ISVSVN no lower. "follows": the same, but only
 * a key that may lie on that machine signed it, or it is this installation's image: its user has to say so. "changed":
 * the host is known, and by something else only; a step from SGX down to the software backend is such a change.
 */
export function recognise(known: readonly Known[], host: string, seen: Seen, ground: Ground): Recognition {
  const entries = known.filter((entry) => entry.host === host)
  const exact = entries.find(
    ({ backend, mrenclave, former }) =>
      backend === seen.backend && mrenclave === seen.mrenclave && (!former || ground.predecessor),
  )
  if (exact !== undefined) return { kind: "known", entry: exact }
  const before = entries.filter(
    ({ backend, isvProdId, isvSvn, former }) =>
      !former && backend === seen.backend && isvProdId === seen.isvProdId && isvSvn <= seen.isvSvn,
  )
  const signed = before.find(({ mrsigner }) => mrsigner === seen.mrsigner)
  if (signed !== undefined) return { kind: ground.signers.has(seen.mrsigner) ? "upgraded" : "follows", entry: signed }
  if (before.length > 0 && ground.own?.mrenclave === seen.mrenclave) return { kind: "follows", entry: before.at(-1)! }
  const [changed] = entries
  return changed === undefined
    ? { kind: "unknown" }
    : { kind: "changed", entry: entries.find((each) => !each.former) ?? changed }
}

/** The text with `seen` in it, and `follows`, which it comes after, a former one; every other line as it was. */
export function withPin(text: string, host: string, seen: Seen, follows: Known | null, path: string): string {
  const current = parseKnown(text, path).filter((entry) => entry.host === host && !entry.former)
  const is = (entry: Seen, other: Seen) => entry.backend === other.backend && entry.mrenclave === other.mrenclave
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n")
  if (!current.some((entry) => is(entry, seen))) lines.push(formatKnown(host, seen))
  for (const entry of current) {
    if (follows !== null && is(entry, follows) && !is(entry, seen)) lines[entry.line - 1] += " former"
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`
}

export const readKnown = (path: string): Known[] => parseKnown(readList(path), path)

/** Adds `seen`; what it follows becomes a former one. Throws the system's errors. */
export function pin(path: string, host: string, seen: Seen, follows: Known | null = null): void {
  changeList(path, (text) => withPin(text, host, seen, follows, path))
}

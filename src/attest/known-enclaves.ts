/**
 * Enclaves seen before: ~/.config/tresor/known-enclaves, what ssh's known_hosts
 * is to host keys. One enclave a line, blank lines and # comments stay:
 *
 *   <host> <backend> <mrenclave> <mrsigner> <isvprodid> <isvsvn>
 *
 * `host` is as named to --remote, without the user; "local" is this machine.
 */
import { join } from "node:path"
import type { Backend } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
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
}

/** What is pinned of an enclave. */
export type Seen = Omit<Identity, "debug"> & { readonly backend: Backend }

const LINE = /^(\S+)\s+(software|sgx)\s+([0-9a-f]{64})\s+([0-9a-f]{64})\s+(\d{1,5})\s+(\d{1,5})$/

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
    const [, host, backend, mrenclave, mrsigner, isvProdId, isvSvn] = match
    known.push({
      line,
      host: host!,
      backend: backend as Backend,
      mrenclave: mrenclave!,
      mrsigner: mrsigner!,
      isvProdId: Number(isvProdId),
      isvSvn: Number(isvSvn),
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

function sameSigner(a: Seen, b: Seen): boolean {
  return a.backend === b.backend && a.mrsigner === b.mrsigner && a.isvProdId === b.isvProdId
}

export type Recognition =
  | { readonly kind: "known" | "upgraded" | "changed"; readonly entry: Known }
  | { readonly kind: "unknown" }

/**
 * "upgraded": another image by the same signer, same product, ISVSVN no lower.
 * A "mrsigner" seal opens for the same enclaves. "changed": the host is
 * known, and by something else only; a step from SGX down to the software
 * backend is such a change.
 */
export function recognise(known: readonly Known[], host: string, seen: Seen): Recognition {
  const entries = known.filter((entry) => entry.host === host)
  const exact = entries.find((entry) => entry.backend === seen.backend && entry.mrenclave === seen.mrenclave)
  if (exact !== undefined) return { kind: "known", entry: exact }
  const upgraded = entries.find((entry) => sameSigner(entry, seen) && seen.isvSvn >= entry.isvSvn)
  if (upgraded !== undefined) return { kind: "upgraded", entry: upgraded }
  const [changed] = entries
  return changed === undefined ? { kind: "unknown" } : { kind: "changed", entry: changed }
}

/** The text with `seen` in it, in place of what it upgrades; every other line as it was. */
export function withPin(text: string, host: string, seen: Seen, path: string): string {
  const recognised = recognise(parseKnown(text, path), host, seen)
  if (recognised.kind === "known") return text
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n")
  if (recognised.kind === "upgraded") lines[recognised.entry.line - 1] = formatKnown(host, seen)
  else lines.push(formatKnown(host, seen))
  return `${lines.join("\n")}\n`
}

export const readKnown = (path: string): Known[] => parseKnown(readList(path), path)

/** Adds or upgrades. Throws the system's errors. */
export function pin(path: string, host: string, seen: Seen): void {
  changeList(path, (text) => withPin(text, host, seen, path))
}

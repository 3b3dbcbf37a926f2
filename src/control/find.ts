/** Finds runtime directories, and checks that the process behind a socket is the one named in state.json. */
import { readdirSync } from "node:fs"
import type { Socket } from "node:net"
import { Exit, TresorError } from "../base/errors.ts"
import { peerCredentials } from "../native/addon.ts"
import { type Entry, entries, isLive, readState, type State } from "./runtime.ts"
import { runtimeRoot } from "./runtime-root.ts"

export interface Root {
  readonly path: string
  readonly owner: number
}

export interface Found extends Root {
  readonly state: State | "damaged" | null
}

/** One's own; root sees those of the users' sessions too, unless told where to look. */
export function roots(): Root[] {
  const uid = process.getuid!()
  const own = { path: runtimeRoot(), owner: uid }
  if (uid !== 0 || (process.env["TRESOR_RUNTIME_DIR"] ?? "") !== "") return [own]
  let sessions: string[] = []
  try {
    sessions = readdirSync("/run/user").filter((name) => /^\d+$/.test(name) && name !== "0")
  } catch {
    // No session was ever there.
  }
  return [own, ...sessions.map((name) => ({ path: `/run/user/${name}/tresor`, owner: Number(name) }))]
}

/** Of a user's volumes root looks at no more: one who made a million directories would keep root from seeing the others. */
const MOST_OF_OTHERS = 256

/** All volumes that have a directory; faults of another user's directory are ignored. */
export function allEntries(): (Entry & Root)[] {
  return roots().flatMap((root) => {
    const own = root.owner === process.getuid!()
    try {
      const found = entries(root.path, root.owner, own ? undefined : MOST_OF_OTHERS)
      return found.map((entry) => ({ ...entry, ...root }))
    } catch (error) {
      if (own) throw error
      return []
    }
  })
}

/** The volume of that name: one's own first, then for root the users'. `state` null: no such volume. */
export function find(name: string, { others }: { readonly others: boolean }): Found {
  const [own, ...rest] = roots()
  const found = { ...own!, state: readState(own!.path, name) }
  if (isLive(found.state) || !others) return found
  const theirs = rest
    .flatMap((root) => {
      try {
        return [{ ...root, state: readState(root.path, name, root.owner) }]
      } catch {
        return []
      }
    })
    .filter(({ state }) => isLive(state) || (found.state === null && state !== null))
  if (theirs.length > 1) {
    throw new TresorError(
      "NAME_AMBIGUOUS",
      Exit.badArguments,
      `Cannot choose ${name}: users ${theirs.map(({ owner }) => owner).join(", ")} have one of this name open; use sudo -u, or TRESOR_RUNTIME_DIR`,
    )
  }
  return theirs[0] ?? found
}

/**
 * Throws IMPOSTOR unless the peer is the tresord of state.json, run by `owner`: a passphrase is about to go there, and a
 * software enclave's report would look the same from anybody. Of a user's socket nobody else's tresord is the peer, not
 * even root's: that user may have put a link to root's socket there, for root to close a volume of its own.
 */
export function checkPeer(
  socket: Socket,
  name: string,
  expected: { readonly pid: number; readonly owner: number },
): void {
  // Node shows the descriptor on the handle only.
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } | null }
  const peer = handle === null ? null : peerCredentials(handle.fd)
  if (peer !== null && peer.uid === expected.owner && peer.pid === expected.pid) return
  const who = peer === null ? "it has gone" : `process ${peer.pid} of user ${peer.uid} answers`
  throw new TresorError(
    "IMPOSTOR",
    Exit.denied,
    `Cannot talk to ${name}: ${who}, and its tresord is process ${expected.pid} of user ${expected.owner}; check who made that socket`,
  )
}

/** A volume whose tresord ended without closing it. */
export function dead(name: string, state: { readonly pid: number } | "damaged"): TresorError {
  const who = state === "damaged" ? "its state cannot be read" : `its tresord, process ${state.pid}, died`
  return new TresorError(
    "VOLUME_DEAD",
    Exit.wrongDevice,
    `Cannot reach ${name}: ${who}; \`tresor umount\` undoes a mount that is left, the next \`tresor open\` takes the name over`,
  )
}

export function notOpen(name: string): TresorError {
  return new TresorError(
    "NOT_OPEN",
    Exit.wrongDevice,
    `Cannot find ${name}: not open; \`tresor list\` lists the open volumes`,
  )
}

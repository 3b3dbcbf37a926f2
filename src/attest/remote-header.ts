/** Checks a header from another machine before the client seals a passphrase for it. */

import { KdfFloor } from "../abi/enclave.ts"
import type { ErrorCode } from "../base/error-codes.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { headerDigest } from "../enclave/asked.ts"
import type { Kdf, PublicHeader, PublicKeyslot } from "../luks2/types.ts"
import { hostName } from "./known-enclaves.ts"
import { knownVolume, knownVolumesPath, pinVolume } from "./known-volumes.ts"

interface Where {
  readonly name: string
  /** As given to --remote. */
  readonly host: string
  /** Hears what is remembered. */
  readonly tell: (line: string) => void
}

function refuse(code: ErrorCode, { name, host }: Where, fact: string): TresorError {
  return new TresorError(code, Exit.denied, `Cannot unlock ${name} on ${host}: ${fact}`)
}

function belowFloor(kdf: Kdf): boolean {
  return kdf.type === "pbkdf2" ? kdf.iterations < KdfFloor.iterations : kdf.time * kdf.memoryKib < KdfFloor.passesKib
}

const cost = (kdf: Kdf) =>
  kdf.type === "pbkdf2"
    ? `pbkdf2-${kdf.hash}, ${kdf.iterations} iterations`
    : `${kdf.type}, ${Math.ceil(kdf.memoryKib / 1024)} MiB, ${kdf.time} passes`

function describe({ slot, passphraseKdf, kdf }: PublicKeyslot): string {
  return passphraseKdf === null
    ? `keyslot ${slot} (not sealed; ${cost(kdf)})`
    : `keyslot ${slot} (sealed; ${cost(passphraseKdf)})`
}

/**
 * Throws, exit 2: HEADER_UNAUTHENTICATED, KEYSLOT_WEAK, HEADER_CHANGED,
 * KNOWN_VOLUMES_BAD. What it returns remembers a header that is new; call it once
 * the passphrase has opened it.
 */
export async function checkRemoteHeader(header: PublicHeader, where: Where): Promise<() => void> {
  const tried = header.keyslots.filter((each) => each.tried)
  if (!header.authenticated && tried.some(({ passphraseKdf }) => passphraseKdf !== null)) {
    throw refuse(
      "HEADER_UNAUTHENTICATED",
      where,
      "its header has no MACs, so anybody may have changed it; run `tresor header authenticate` on that machine",
    )
  }
  const weak = tried.find(
    ({ kdf, passphraseKdf }) => belowFloor(kdf) || (passphraseKdf !== null && belowFloor(passphraseKdf)),
  )
  if (weak !== undefined) {
    throw refuse(
      "KEYSLOT_WEAK",
      where,
      `${describe(weak)} is cheaper to guess than any that cryptsetup makes; unlock it on that machine, or name another keyslot with --key-slot`,
    )
  }
  const path = knownVolumesPath()
  const host = hostName(where.host)
  const digest = Buffer.from(await headerDigest(header)).toString("hex")
  const known = knownVolume(path, host, header.uuid)
  if (known === undefined) {
    return () => {
      pinVolume(path, host, header.uuid, digest)
      const slots = header.keyslots.map(describe).join(", ")
      const { cipher, keySize } = header.segment
      where.tell(
        `the header of ${where.name} on ${where.host} is known from now on: ${cipher}, ${keySize * 8} bits, ${slots}; ` +
          `a changed one will be refused (${path})`,
      )
    }
  }
  if (known.digest !== digest) {
    throw refuse(
      "HEADER_CHANGED",
      where,
      `its header is not the one that ${path}:${known.line} knows; if keyslots were added or changed there on purpose, remove that line`,
    )
  }
  return () => {}
}

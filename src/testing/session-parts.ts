/** What sessions of tests have in common; enclave, header and volume are each test's own. */
import type { SessionParts } from "../tresord/session-parts.ts"

export const SESSION_PARTS = {
  name: "work",
  path: "/disk.img",
  export: "nbd",
  uri: "nbd+unix:///?socket=/s",
  socket: "/s",
  segment: { cipher: "aes-xts-plain64", sectorSize: 4096, keySize: 64, offset: 0n, size: null, ivTweak: 0n },
  transitionCycles: 0,
  kept: { find: () => null },
  stopServing: async () => {},
} as const satisfies Partial<SessionParts>

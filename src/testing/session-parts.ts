/** What sessions of tests have in common; enclave, header and volume are each test's own. */
import type { SessionParts } from "../tresord/session-parts.ts"

export const SESSION_PARTS = {
  name: "work",
  path: "/disk.img",
  export: "nbd",
  uri: "nbd+unix:///?socket=/s",
  socket: "/s",
  cipher: "aes-xts-plain64",
  keySize: 64,
  transitionCycles: 0,
  kept: { find: () => null },
  stopServing: async () => {},
} as const satisfies Partial<SessionParts>

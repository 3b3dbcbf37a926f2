/**
 * abi/kmod.h for TypeScript: the numbers that addon/ring.c passes on as they are.
 * kmod.test.ts reads the header and compares. Pure.
 */

/** Bytes of the name under which dm-crypt holds a key. */
export const HANDLE_SIZE = 32
/** Bytes that tell one key from another. */
export const CHECK_SIZE = 32

/** TRESOR_EVENT_*: what a legacy daemon has to do. */
export const EventType = { setkey: 1, forget: 2 } as const
/** In an event's flags. */
export const EVENT_AGAIN = 1

/** An answer's status: setkey succeeds, requests wait for RELEASE. */
export const ANSWER_HELD = 1

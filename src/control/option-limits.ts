/** Bounds of options that the command line tells before anything else is loaded. */

/** A year. */
export const MOST_GRACE_SECONDS = 31_536_000
/** A lease is renewed every sixth of it by a program that asks a cluster. */
export const LEAST_LEASE_SECONDS = 6
export const MOST_LEASE_SECONDS = 3600
export const LEAST_STORE_SECONDS = 2
export const MOST_STORE_SECONDS = 86_400
/** An enclave has 8 entries: one is the event loop's, one is left to passphrases. */
export const MOST_IO_THREADS = 6
/** The event loop has a CPU. Of two, a client has the other one. */
export const ioThreadsFor = (cpus: number): number => (cpus <= 2 ? 0 : Math.min(MOST_IO_THREADS, cpus - 1))
export const MOST_TRANSITION_CYCLES = 9_999_999

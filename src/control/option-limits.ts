/** Bounds of options that the command line tells before anything else is loaded. */

/** A year. */
export const MOST_GRACE_SECONDS = 31_536_000
/** A lease is renewed every sixth of it by a program that asks a cluster. */
export const LEAST_LEASE_SECONDS = 6
export const MOST_LEASE_SECONDS = 3600
export const LEAST_STORE_SECONDS = 2
export const MOST_STORE_SECONDS = 86_400
export const MOST_TRANSITION_CYCLES = 9_999_999

/** Bounds of options that the command line tells before anything else is loaded. */

/** A year. */
export const MOST_GRACE_SECONDS = 31_536_000
export const MOST_TRANSITION_CYCLES = 9_999_999

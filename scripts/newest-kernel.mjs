#!/usr/bin/env node
/** Brings Debian's newest kernel into the cache, for test/vm/newest.test.ts, unless one is there; why not, in one line. */
import { cachedNewestKernel, fetchNewestKernel } from "./kernels.mjs"

try {
  if (cachedNewestKernel() === null) fetchNewestKernel()
} catch (error) {
  process.stderr.write(`cannot download a kernel: ${error.message.trim().split("\n").at(-1)}\n`)
  process.exitCode = 1
}

#!/usr/bin/env node
/** Brings a root of Ubuntu 24.04 into the cache, for test/package/ubuntu.test.ts, unless one is there; why not, in one line. */
import { makeRoot, UBUNTU } from "./roots.mjs"

try {
  makeRoot(UBUNTU)
} catch (error) {
  process.stderr.write(`cannot make a root of Ubuntu 24.04: ${error.message.trim().split("\n").at(-1)}\n`)
  process.exitCode = 1
}

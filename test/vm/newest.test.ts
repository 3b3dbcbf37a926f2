/**
 * A block device on Debian's newest kernel, which changes the size of a ublk device in use: 6.12 cannot. Where the kernel
 * cannot be had, `npm test` leaves this out and says so.
 */
import assert from "node:assert/strict"
import { before, describe } from "node:test"
import { type Boot, boot, buildPrograms, type Result, testChecks } from "./checks.ts"
import { newestKernel } from "./kernels.ts"

const kernel = newestKernel()
assert.ok(kernel !== null, "no kernel from 6.16 on is in the cache: `node scripts/newest-kernel.mjs` downloads it")
const machine: Boot = { kernel, parts: ["newest"], seconds: 1700 }

describe(`a block device on Debian's Linux ${kernel.release}`, () => {
  let results: Map<string, Result>
  before(async () => {
    buildPrograms()
    results = await boot(machine)
  })
  testChecks(machine, () => results)
})

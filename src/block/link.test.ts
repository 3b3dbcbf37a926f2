/** /dev/tresor/NAME: what is made there and taken away is ours. As root only. */
import assert from "node:assert/strict"
import { existsSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { linkOf, makeLink, removeLink } from "./link.ts"

const name = `link-test-${process.pid}`
const device = "/dev/ublkb-of-a-test"

test("a link is removed where it leads to the device, and nothing else is", (t) => {
  // /dev is root's.
  if (process.getuid!() !== 0) return
  const link = linkOf(name)
  t.after(() => rmSync(link, { force: true }))
  removeLink(name, device)
  makeLink(name, device)
  assert.equal(readlinkSync(link), device)
  removeLink(name, device)
  assert.ok(!existsSync(link))
  symlinkSync("/dev/another", link)
  removeLink(name, device)
  assert.equal(readlinkSync(link), "/dev/another")
  rmSync(link)
  writeFileSync(link, "no link")
  removeLink(name, device)
  assert.equal(readFileSync(link, "utf8"), "no link")
})

/** What `--block` refuses before there is a device; devices themselves need a kernel with ublk: test/vm. */
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { test } from "node:test"
import { Place } from "./harness.ts"

const place = new Place()
const root = process.getuid!() === 0

test("an NBD store is refused with the way out, and no tresord is left", async () => {
  const { code, stderr } = await place.tresor(["open", "nbd://localhost/x", "work", "--block"])
  assert.equal(code, 1)
  assert.match(stderr, /with --block: it is neither a file nor a block device; open it over NBD/)
  assert.deepEqual(place.names(), [])
})

test("the module's own name is refused", { skip: !root && "root alone has block devices" }, async () => {
  const { path, keyFile } = await place.volume("one", "correct horse")
  const { code, stderr } = await place.tresor(["open", path, "control", "--key-file", keyFile, "--block"])
  assert.equal(code, 1)
  assert.match(stderr, /\/dev\/tresor\/control is tresor\.ko's; choose another name/)
  assert.deepEqual(place.names(), [])
})

test("who cannot have a block device is told why", { skip: existsSync("/dev/ublk-control") && root }, async () => {
  const { path, keyFile } = await place.volume("two", "correct horse")
  const { code, stderr } = await place.tresor(["open", path, "work", "--key-file", keyFile, "--block"])
  assert.equal(code, root ? 4 : 2)
  assert.match(
    stderr,
    root ? /no ublk .*ublk_drv.* or open it over NBD/ : /root's alone; run as root, or open it over NBD/,
  )
  assert.deepEqual(place.names(), [])
  assert.equal(existsSync("/dev/tresor/work"), false)
})

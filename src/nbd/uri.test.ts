import assert from "node:assert/strict"
import { test } from "node:test"
import { isNbdUri, nbdUri, parseNbdUri } from "./uri.ts"

test("the examples of the NBD URI specification mean what it says", () => {
  const at = { host: "example.com", port: 10809 }
  assert.deepEqual(parseNbdUri("nbd://example.com"), { at, exportName: "" })
  assert.deepEqual(parseNbdUri("nbd://example.com/"), { at, exportName: "" })
  assert.deepEqual(parseNbdUri("nbd://example.com/export"), { at, exportName: "export" })
  assert.deepEqual(parseNbdUri("nbd://example.com//export"), { at, exportName: "/export" })
  assert.deepEqual(parseNbdUri("nbd://example.com/%2Fexport%20name"), { at, exportName: "/export name" })
  assert.deepEqual(parseNbdUri("nbd://[::1]:9000/x"), { at: { host: "::1", port: 9000 }, exportName: "x" })
  const unix = { at: { path: "/tmp/nbd.sock" }, exportName: "x" }
  assert.deepEqual(parseNbdUri("nbd+unix:///x?socket=/tmp/nbd.sock"), unix)
  assert.deepEqual(parseNbdUri("nbd+unix:///x?socket=%2Ftmp%2Fnbd.sock"), unix)
})

test("what is spoken otherwise is refused with the way out", () => {
  for (const [uri, fact] of [
    ["nbds://host/x", /TLS is left/],
    ["nbd+unix:///x", /\?socket=PATH/],
    ["nbd+vsock://1/x", /not spoken here/],
    ["nbd://user@host/x", /users belong to TLS/],
    ["nbd:///x", /names no host/],
    ["nbd://host/x?socket=/a", /nbd\+unix/],
    ["nbd://host/%ff", /UTF-8/],
  ] as const) {
    assert.equal(isNbdUri(uri), true)
    assert.throws(() => parseNbdUri(uri), fact)
  }
  for (const path of ["nbd", "./nbd:", "/dev/nbd0", "disk.img"]) assert.equal(isNbdUri(path), false)
})

test("a URI's socket keeps its slashes and loses its blanks, and is read back", () => {
  assert.equal(nbdUri("/run/a b/nbd.sock"), "nbd+unix:///?socket=/run/a%20b/nbd.sock")
  for (const path of ["/run/a b/nbd.sock", "/a?b&c=d#e%f", "/ü/+"])
    assert.deepEqual(parseNbdUri(nbdUri(path)), { at: { path }, exportName: "" })
})

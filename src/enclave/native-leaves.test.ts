/** The software backend's leaves of ENCLU against what the SDM says of them; MACs against node:crypto's AES. */

import assert from "node:assert/strict"
import { createCipheriv } from "node:crypto"
import { test } from "node:test"
import { within } from "../testing/contract.ts"
import { getKey, KEY_AT, type KeyRequest, keyRequest, sealKey } from "../testing/key-request.ts"
import { call, DYNAMIC, HEAP, Leaf, LOST, SIZE, startEnclave, WINDOW } from "../testing/native.ts"

test("EGETKEY's seal key depends on what the SDM says it depends on", () => {
  const other = { code: [0x4c, 0x8b, 0xc4] } // mov r8, rsp in its other encoding: another MRENCLAVE
  const otherSecret = { machineSecret: new Uint8Array(32).fill(8) }
  within(startEnclave(), (a) => {
    const base = sealKey(a)
    const baseByEnclave = sealKey(a, { policy: 1 })
    assert.equal(sealKey(a), base)
    assert.notEqual(baseByEnclave, base)
    const distinct = [
      base,
      baseByEnclave,
      sealKey(a, { policy: 3 }),
      sealKey(a, { isvSvn: 2 }),
      sealKey(a, { cpuSvn: [0] }),
      sealKey(a, { keyId: new Uint8Array(32).fill(1) }),
      sealKey(a, { attributeMask: 4n }),
      sealKey(a, { xfrmMask: 3n }),
      sealKey(a, { miscMask: 1 }),
    ]
    assert.equal(new Set(distinct).size, distinct.length)

    assert.equal(
      within(startEnclave(), (b) => sealKey(b)),
      base,
      "the same enclave again",
    )
    within(startEnclave(other), (b) => {
      assert.notDeepEqual(b.mrenclave, a.mrenclave)
      assert.deepEqual(b.mrsigner, a.mrsigner)
      assert.equal(sealKey(b), base, "policy MRSIGNER")
      assert.notEqual(sealKey(b, { policy: 1 }), baseByEnclave, "policy MRENCLAVE")
    })
    within(startEnclave({}, otherSecret), (b) => assert.notEqual(sealKey(b), base, "another machine"))
    within(startEnclave({ isvProdId: 8 }), (b) => assert.notEqual(sealKey(b), base, "another product"))
    within(startEnclave({ isvSvn: 4 }), (b) => assert.equal(sealKey(b), base, "a newer version, asking for the old"))
    within(startEnclave({ xfrm: 7n }), (b) => {
      assert.equal(sealKey(b), base, "XFRM is not in the mask")
      assert.notEqual(sealKey(b, { xfrmMask: 4n }), sealKey(a, { xfrmMask: 4n }), "XFRM is in the mask")
    })
  })
})

test("EGETKEY refuses with the SDM's error codes and leaves the key alone", () => {
  within(startEnclave(), (native) => {
    const refused = (fields: KeyRequest, code: number) => {
      const { status, rax, zeroFlag, key } = getKey(native, fields)
      assert.deepEqual([status, rax, zeroFlag, key], [0, code, true, "0".repeat(32)])
    }
    refused({ isvSvn: 4 }, 64)
    refused({ cpuSvn: [2] }, 32)
    refused({ cpuSvn: [0, 1] }, 32)
    refused({ name: 5 }, 256)
    refused({ name: 0xffff }, 256)
    // EINITTOKEN, PROVISION and PROVISION_SEAL need attributes that no enclave here has.
    for (const name of [0, 1, 2]) refused({ name }, 2)
  })
})

test("an ENCLU that would fault in hardware costs the enclave", () => {
  const egetkey = (fields: KeyRequest, rbx = WINDOW, rcx = KEY_AT) => ({
    leaf: Leaf.egetkey,
    rbx,
    rcx,
    data: keyRequest(fields),
  })
  const secinfo = (flags: number, reserved = 0) => {
    const bytes = new Uint8Array(64)
    bytes.set([flags & 0xff, flags >> 8])
    bytes[63] = reserved
    return bytes
  }
  const calls = {
    "a reserved KEYPOLICY bit": egetkey({ policy: 0x42 }),
    "a KSS policy without KSS": egetkey({ policy: 0x12 }),
    "CONFIGSVN without KSS": egetkey({ configSvn: 1 }),
    "reserved bytes of KEYREQUEST": egetkey({ reserved: 511 }),
    "reserved bytes before CPUSVN": egetkey({ reserved: 6 }),
    "an unaligned KEYREQUEST": egetkey({}, WINDOW + 256),
    "an unaligned key": egetkey({}, WINDOW, KEY_AT + 8),
    "a key into code": egetkey({}, WINDOW, 0x800),
    "a KEYREQUEST outside ELRANGE": egetkey({}, SIZE),
    "a key into a TCS": egetkey({}, WINDOW, 0x4000),
    "a key into a hole": egetkey({}, WINDOW, 0x7000),
    "a key into a page not accepted": egetkey({}, WINDOW, DYNAMIC),
    "an unaligned TARGETINFO": { leaf: Leaf.ereport, rbx: WINDOW + 256, rcx: WINDOW, rdx: WINDOW + 0x800 },
    "an unaligned REPORTDATA": { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW + 64, rdx: WINDOW + 0x800 },
    "an unaligned REPORT": { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW, rdx: WINDOW + 0x880 },
    "a REPORT into code": { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW, rdx: 0x800 },
    "EACCEPT outside the dynamic range": { leaf: Leaf.eaccept, rbx: WINDOW, rcx: HEAP, data: secinfo(0x20b) },
    "EACCEPT of half a page": { leaf: Leaf.eaccept, rbx: WINDOW, rcx: DYNAMIC + 8, data: secinfo(0x20b) },
    "reserved bytes of SECINFO": { leaf: Leaf.eaccept, rbx: WINDOW, rcx: DYNAMIC, data: secinfo(0x20b, 1) },
    "EEXIT to inside": { leaf: Leaf.eexit },
    "EENTER from inside": { leaf: 2 },
    "a leaf there is not": { leaf: 77 },
  }
  for (const [name, what] of Object.entries(calls)) {
    within(startEnclave(), (native) => {
      assert.equal(call(native, what).status, LOST, name)
      assert.equal(native.alive, false, name)
      assert.equal(call(native, egetkey({})).status, LOST, name)
    })
  }
})

/** RFC 4493, over node:crypto's AES. */
function cmac(key: Uint8Array, data: Uint8Array): Buffer {
  const block = (input: Uint8Array) => {
    const cipher = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false)
    return Buffer.concat([cipher.update(input), cipher.final()])
  }
  const doubled = BigInt(`0x${block(new Uint8Array(16)).toString("hex")}`) << 1n
  const subkey = (doubled & ((1n << 128n) - 1n)) ^ (doubled >> 128n ? 0x87n : 0n)
  const mask = Buffer.from(subkey.toString(16).padStart(32, "0"), "hex")
  let mac = Buffer.alloc(16)
  for (let at = 0; at < data.length; at += 16) {
    const last = at + 16 === data.length
    mac = block(mac.map((byte, i) => byte ^ data[at + i]! ^ (last ? mask[i]! : 0)))
  }
  return mac
}

test("RFC 4493's example, which the comparison below rests on", () => {
  const key = Buffer.from("2b7e151628aed2a6abf7158809cf4f3c", "hex")
  const message = Buffer.from("6bc1bee22e409f96e93d7e117393172a", "hex")
  assert.equal(cmac(key, message).toString("hex"), "070a16b46b4d4144f79bdd9dd04a287c")
})

test("EREPORT is verified by its target with EGETKEY, and by nobody else", () => {
  within(startEnclave({ isvSvn: 9, isvProdId: 0x1234 }), (native) => {
    const target = (fields: { mrenclave?: Uint8Array; attributes?: bigint; xfrm?: bigint }) => {
      const bytes = new Uint8Array(1024)
      const view = new DataView(bytes.buffer)
      bytes.set(fields.mrenclave ?? native.mrenclave)
      view.setBigUint64(32, fields.attributes ?? 7n, true)
      view.setBigUint64(40, fields.xfrm ?? 3n, true)
      for (let i = 0; i < 64; i++) bytes[512 + i] = i + 1
      return bytes
    }
    const reportFor = (fields: Parameters<typeof target>[0]) => {
      const result = call(native, {
        leaf: Leaf.ereport,
        rbx: WINDOW,
        rcx: WINDOW + 512,
        rdx: HEAP,
        data: target(fields),
        from: HEAP,
      })
      assert.equal(result.status, 0)
      return result.data.subarray(0, 432)
    }
    const verifies = (report: Uint8Array) => {
      const key = sealKey(native, { name: 3, keyId: report.subarray(384, 416) })
      return cmac(Buffer.from(key, "hex"), report.subarray(0, 384)).equals(report.subarray(416, 432))
    }
    const report = reportFor({})
    const view = new DataView(report.buffer, report.byteOffset)
    assert.deepEqual(
      report.slice(0, 16),
      Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? 1 : 0)),
    )
    assert.equal(view.getBigUint64(48, true), 7n)
    assert.equal(view.getBigUint64(56, true), 3n)
    assert.deepEqual(report.slice(64, 96), native.mrenclave)
    assert.deepEqual(report.slice(128, 160), native.mrsigner)
    assert.equal(view.getUint16(256, true), 0x1234)
    assert.equal(view.getUint16(258, true), 9)
    assert.deepEqual(
      report.slice(320, 384),
      Uint8Array.from({ length: 64 }, (_, i) => i + 1),
    )
    assert.equal(verifies(report), true)
    assert.equal(verifies(reportFor({ mrenclave: new Uint8Array(32) })), false)
    assert.equal(verifies(reportFor({ attributes: 5n })), false)
    assert.equal(verifies(reportFor({ xfrm: 7n })), false)
    const altered = Uint8Array.from(report)
    altered[383]! ^= 1
    assert.equal(verifies(altered), false)
  })
})

test("EACCEPT is good once, and trimmed memory reads as zero", () => {
  within(startEnclave(), (native) => {
    const accept = (flags: number) =>
      call(native, {
        leaf: Leaf.eaccept,
        rbx: WINDOW,
        rcx: DYNAMIC,
        data: Uint8Array.from({ length: 64 }, (_, i) => (i === 0 ? flags & 0xff : i === 1 ? flags >> 8 : 0)),
      })
    /** EREPORT is the enclave's way to write; its CPUSVN is not zero. */
    const report = (at: number) =>
      call(native, { leaf: Leaf.ereport, rbx: WINDOW, rcx: WINDOW + 512, rdx: at, from: DYNAMIC })
    assert.equal(accept(0x203).rax, 19)
    const accepted = accept(0x20b)
    assert.deepEqual([accepted.status, accepted.rax, accepted.zeroFlag], [0, 0, false])
    assert.equal(accept(0x20b).rax, 19)
    assert.notDeepEqual(report(DYNAMIC).data, new Uint8Array(1024))
    native.trimHeap()
    assert.deepEqual(report(HEAP).data, new Uint8Array(1024))
    assert.notDeepEqual(report(DYNAMIC).data, new Uint8Array(1024))
  })
})

/**
 * What every backend has to keep, whatever does it: the SDM's rules as far as a host or an enclave sees them. The unit
 * tests ask it of the software backend and of the hardware backend on a made-up driver, test/sgx of the hardware backend
 * on Linux's own. For tests only.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import type { Backend } from "../abi/enclave.ts"
import type { createEnclave, NativeEnclave } from "../native/addon.ts"
import { decryptXts } from "./luks.ts"
import {
  call,
  callRequest,
  HEAP,
  Leaf,
  LOST,
  loadEnclave,
  makeEnclave,
  openGate,
  SITE,
  SIZE,
  type TestEnclave,
  WINDOW,
} from "./native.ts"
import { makeHeader, makeVolume, real, SLOT, startImage, unlock } from "./real-image.ts"

export interface Subject {
  readonly backend: Backend
  readonly create: typeof createEnclave
  /**
   * Whether the image is executed as by a processor. That makes #UD of INT3, and goes wherever EEXIT says
   * (sgx-machine/selftest.c shows both); the software backend calls INT3 what it is, and ends such an EEXIT.
   */
  readonly processor: boolean
}

export const withCode = (code: string) => (error: NodeJS.ErrnoException) => {
  assert.equal(error.code, code, error.message)
  assert.match(error.message, /^[^\n]+$/)
  return true
}

export function within<T>(native: NativeEnclave, work: (native: NativeEnclave) => T): T {
  try {
    return work(native)
  } finally {
    native.destroy()
  }
}

export async function withinAsync(
  native: NativeEnclave,
  work: (native: NativeEnclave) => Promise<void>,
): Promise<void> {
  try {
    await work(native)
  } finally {
    native.destroy()
  }
}

function start({ create }: Subject, parts: Parameters<typeof makeEnclave>[0] = {}): NativeEnclave {
  const made = makeEnclave(parts)
  const native = loadEnclave(made, { create })
  native.init(made.sigstruct, made.image.encluSite)
  return native
}

/** By name; each makes its enclaves and ends them. */
export const contract: Readonly<Record<string, (subject: Subject) => void | Promise<void>>> = {
  "EINIT wants the signed hash, attributes, MISCSELECT, XFRM and key"(subject) {
    const made = makeEnclave()
    const refused = (change: Partial<TestEnclave["image"]>, sigstruct: Uint8Array, code: string) =>
      within(loadEnclave({ ...made, image: { ...made.image, ...change } }, subject), (native) => {
        assert.throws(() => native.init(sigstruct, SITE), withCode(code))
        assert.equal(native.alive, false)
        assert.equal(native.enter(callRequest({ leaf: 0 })), LOST, "nobody enters before EINIT")
      })
    const altered = (at: number) => {
      const bytes = Uint8Array.from(made.sigstruct)
      bytes[at]! ^= 1
      return bytes
    }
    const { segments } = made.image
    refused({ segments: [segments[1]!, segments[0]!, ...segments.slice(2)] }, made.sigstruct, "SGX_INVALID_MEASUREMENT")
    refused(
      { segments: segments.map((each) => (each.offset === WINDOW ? { ...each, secinfoFlags: 0x201 } : each)) },
      made.sigstruct,
      "SGX_INVALID_MEASUREMENT",
    )
    refused({ attributes: 6n }, made.sigstruct, "SGX_INVALID_ATTRIBUTE")
    refused({ miscSelect: 1 }, made.sigstruct, "SGX_INVALID_ATTRIBUTE")
    refused({}, altered(960), "SGX_INVALID_SIGNATURE")
    refused({}, altered(0), "SGX_INVALID_SIG_STRUCT")
    refused({}, altered(128), "SGX_INVALID_SIGNATURE")
    refused({}, altered(516), "SGX_INVALID_SIGNATURE")
  },

  "EADD refuses pages that are there, beyond the end, misaligned, or of no kind"(subject) {
    within(loadEnclave(makeEnclave(), subject), (native) => {
      const add = (offset: number, size: number, flags: number) => () =>
        native.addPages(offset, size, new Uint8Array(), flags, true)
      assert.throws(add(WINDOW, 4096, 0x203), withCode("SGX_PAGE_PRESENT"))
      assert.throws(add(SIZE, 4096, 0x203), withCode("SGX_PAGE_RANGE"))
      assert.throws(add(0x18001, 4096, 0x203), withCode("SGX_PAGE_ALIGNMENT"))
      assert.throws(add(0x18000, 4096, 0x202), withCode("SGX_SECINFO"))
      assert.throws(add(0x18000, 4096, 0x103), withCode("SGX_SECINFO"))
    })
  },

  "pages have the rights they were added with, inside too"(subject) {
    // mov [rip - 7], rax: code is not writable. Or a jump into the heap, which is not code.
    const write = [0x48, 0x89, 0x05, 0xf9, 0xff, 0xff, 0xff]
    const jump = [0xe9, ...new Uint8Array(new Uint32Array([HEAP - 5]).buffer)]
    const faults = [
      [write, /#PF \(vector 14,/],
      [jump, /#PF \(vector 14,/],
      [[0x0f, 0x0b], /#UD \(vector 6,/],
      [[0xeb, 0x7f], subject.processor ? /#UD \(vector 6,/ : /#BP \(vector 3,/],
    ] as const
    for (const [code, fault] of faults) {
      within(start(subject, { code }), (native) => {
        assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
        assert.equal(native.alive, false)
        assert.match(native.fault ?? "", fault)
      })
    }
  },

  "EENTER gives CSSA 0, and EEXIT to anywhere but back is no exit"(subject) {
    if (!subject.processor) {
      // lea rbx, [rcx + 1]; mov eax, 4; jmp to the site: EEXIT one byte beyond.
      const jump = SITE - 14
      const code = [0x48, 0x8d, 0x59, 0x01, 0xb8, 4, 0, 0, 0, 0xe9, jump & 0xff, jump >> 8, 0, 0]
      within(start(subject, { code }), (native) => assert.equal(native.enter(callRequest({ leaf: 0 })), LOST))
    }
    // test eax, eax; mov rbx, rcx; jz +2; ud2; mov eax, 4; xor edi, edi; jmp to the site.
    const back = SITE - 21
    const ok = [0x85, 0xc0, 0x48, 0x89, 0xcb, 0x74, 2, 0x0f, 0x0b, 0xb8, 4, 0, 0, 0, 0x31, 0xff, 0xe9, back, 0, 0, 0]
    within(start(subject, { code: ok }), (native) => assert.equal(native.enter(callRequest({ leaf: 0 })), 0))
  },

  async "a TCS in use is not entered: the third thread waits for one of two"(subject) {
    await withinAsync(start(subject), async (native) => {
      const key = { leaf: Leaf.egetkey, rbx: WINDOW, rcx: WINDOW + 0x200, gate: false }
      const requests = [callRequest(key), callRequest(key), callRequest(key)]
      const entries = requests.map((request) => native.enterAsync(request))
      let done = 0
      for (const entry of entries) void entry.then(() => done++)
      await new Promise((resolve) => setTimeout(resolve, 30))
      assert.equal(done, 0)
      for (const request of requests) openGate(request)
      assert.deepEqual(await Promise.all(entries), [0, 0, 0])
    })
  },

  "leaves answer as the SDM has it, or fault"(subject) {
    within(start(subject), (native) => {
      // An all-zero KEYREQUEST asks for the launch key, which needs the EINITTOKEN_KEY attribute.
      const { status, rax, zeroFlag } = call(native, { leaf: Leaf.egetkey, rbx: WINDOW, rcx: WINDOW + 0x200 })
      assert.deepEqual([status, rax, zeroFlag], [0, 2, true])
    })
    within(start(subject), (native) => {
      assert.equal(call(native, { leaf: Leaf.egetkey, rbx: WINDOW + 8, rcx: WINDOW + 0x200 }).status, LOST)
    })
    within(start(subject), (native) => {
      assert.equal(call(native, { leaf: 77 }).status, LOST)
      assert.match(native.fault ?? "", /#GP \(vector 13,/)
    })
  },

  async "the real image says HELLO, makes a volume that node:crypto opens, and moves its sectors"(subject) {
    const made = real()
    await using client = await startImage(subject.create, subject.backend)
    assert.equal(client.identity.mrenclave, Buffer.from(made.mrenclave).toString("hex"))
    assert.equal(client.identity.debug, subject.backend === "software")
    assert.equal(client.identity.memory.keys === "EPC", subject.backend === "sgx")

    const { header, key } = await makeVolume(client)
    const { handle } = await unlock(client, header)
    const plain = Buffer.from(new ArrayBuffer(8192))
    plain.set(randomBytes(8192))
    const cipher = Buffer.from(new ArrayBuffer(8192))
    client.sectors(handle, false, [{ input: plain, output: cipher, sector: 16n }])
    assert.deepEqual(decryptXts(key, 4096, 16n, cipher), plain)
    const again = Buffer.from(new ArrayBuffer(8192))
    client.sectors(handle, true, [{ input: cipher, output: again, sector: 16n }])
    assert.deepEqual(again, plain)
    client.closeVolume(handle)
  },

  async "a salt sealed by one enclave opens in the next of the same machine, unless it was altered"(subject) {
    const passphraseKdf = { type: "argon2id", time: 2, memoryKib: 64, lanes: 2 } as const
    const first = await startImage(subject.create, subject.backend)
    const header = await makeHeader(first, { ...SLOT, passphraseKdf })
    await first.close()
    await using second = await startImage(subject.create, subject.backend)
    assert.equal((await unlock(second, header)).slot, 0)
    const sealed = Uint8Array.from(header.keyslots[0]!.sealed!)
    sealed[sealed.length - 1]! ^= 1
    const altered = { ...header, keyslots: [{ ...header.keyslots[0]!, sealed }] }
    await assert.rejects(unlock(second, altered), { code: "ENCLAVE_SEAL_DAMAGED" })
  },
}

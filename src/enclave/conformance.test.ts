/** One contract, two backends: what the SDM asks of the software one, and of the hardware one on a made-up driver. */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { afterEach, describe, test } from "node:test"
import type { Backend } from "../abi/enclave.ts"
import { createEnclave, type NativeEnclave } from "../native/addon.ts"
import { createFake, EFAULT, Errno, fake, type Wrong } from "../testing/fake-sgx.ts"
import { decryptXts } from "../testing/luks.ts"
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
} from "../testing/native.ts"
import { makeHeader, makeVolume, real, SLOT, startImage, startVectors, unlock } from "../testing/real-image.ts"
import type { EnclaveClient } from "./client.ts"
import { EnclaveError } from "./error.ts"

const withCode = (code: string) => (error: NodeJS.ErrnoException) => {
  assert.equal(error.code, code, error.message)
  assert.match(error.message, /^[^\n]+$/)
  return true
}

function within<T>(native: NativeEnclave, work: (native: NativeEnclave) => T): T {
  try {
    return work(native)
  } finally {
    native.destroy()
  }
}

async function withinAsync(native: NativeEnclave, work: (native: NativeEnclave) => Promise<void>): Promise<void> {
  try {
    await work(native)
  } finally {
    native.destroy()
  }
}

const BACKENDS = [
  { backend: "software", create: createEnclave },
  { backend: "sgx", create: createFake },
] as const satisfies readonly { backend: Backend; create: typeof createEnclave }[]

afterEach(() => {
  fake.configure({})
  assert.equal(fake.counters().open, 0, "a device was left open")
})

for (const { backend, create } of BACKENDS) {
  const load = (made: TestEnclave) => loadEnclave(made, { create })
  const start = (parts: Parameters<typeof makeEnclave>[0] = {}) => {
    const made = makeEnclave(parts)
    const native = load(made)
    native.init(made.sigstruct, made.image.encluSite)
    return native
  }

  describe(backend, () => {
    test("EINIT wants the signed hash, attributes, MISCSELECT, XFRM and key", () => {
      const made = makeEnclave()
      const refused = (change: Partial<TestEnclave["image"]>, sigstruct: Uint8Array, code: string) =>
        within(load({ ...made, image: { ...made.image, ...change } }), (native) => {
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
      refused(
        { segments: [segments[1]!, segments[0]!, ...segments.slice(2)] },
        made.sigstruct,
        "SGX_INVALID_MEASUREMENT",
      )
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
    })

    test("EADD refuses pages that are there, beyond the end, misaligned, or of no kind", () => {
      within(load(makeEnclave()), (native) => {
        const add = (offset: number, size: number, flags: number) => () =>
          native.addPages(offset, size, new Uint8Array(), flags, true)
        assert.throws(add(WINDOW, 4096, 0x203), withCode("SGX_PAGE_PRESENT"))
        assert.throws(add(SIZE, 4096, 0x203), withCode("SGX_PAGE_RANGE"))
        assert.throws(add(0x18001, 4096, 0x203), withCode("SGX_PAGE_ALIGNMENT"))
        assert.throws(add(0x18000, 4096, 0x202), withCode("SGX_SECINFO"))
        assert.throws(add(0x18000, 4096, 0x103), withCode("SGX_SECINFO"))
      })
    })

    test("pages have the rights they were added with, inside too", () => {
      // mov [rip - 7], rax: code is not writable. Or a jump into the heap, which is not code.
      const write = [0x48, 0x89, 0x05, 0xf9, 0xff, 0xff, 0xff]
      const jump = [0xe9, ...new Uint8Array(new Uint32Array([HEAP - 5]).buffer)]
      const faults = [
        [write, /#PF \(vector 14,/],
        [jump, /#PF \(vector 14,/],
        [[0x0f, 0x0b], /#UD \(vector 6,/],
        [[0xeb, 0x7f], /#BP \(vector 3,/],
      ] as const
      for (const [code, fault] of faults) {
        within(start({ code }), (native) => {
          assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
          assert.equal(native.alive, false)
          assert.match(native.fault ?? "", fault)
        })
      }
    })

    test("EENTER gives CSSA 0, and EEXIT to anywhere but back is no exit", () => {
      // lea rbx, [rcx + 1]; mov eax, 4; jmp to the site: EEXIT one byte beyond.
      const jump = SITE - 14
      const code = [0x48, 0x8d, 0x59, 0x01, 0xb8, 4, 0, 0, 0, 0xe9, jump & 0xff, jump >> 8, 0, 0]
      within(start({ code }), (native) => assert.equal(native.enter(callRequest({ leaf: 0 })), LOST))
      // test eax, eax; mov rbx, rcx; jz +2; ud2; mov eax, 4; xor edi, edi; jmp to the site.
      const back = SITE - 21
      const ok = [0x85, 0xc0, 0x48, 0x89, 0xcb, 0x74, 2, 0x0f, 0x0b, 0xb8, 4, 0, 0, 0, 0x31, 0xff, 0xe9, back, 0, 0, 0]
      within(start({ code: ok }), (native) => assert.equal(native.enter(callRequest({ leaf: 0 })), 0))
    })

    test("a TCS in use is not entered: the third thread waits for one of two", async () => {
      await withinAsync(start(), async (native) => {
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
    })

    test("leaves answer as the SDM has it, or fault", () => {
      within(start(), (native) => {
        // An all-zero KEYREQUEST asks for the launch key, which needs the EINITTOKEN_KEY attribute.
        const { status, rax, zeroFlag } = call(native, { leaf: Leaf.egetkey, rbx: WINDOW, rcx: WINDOW + 0x200 })
        assert.deepEqual([status, rax, zeroFlag], [0, 2, true])
      })
      within(start(), (native) => {
        assert.equal(call(native, { leaf: Leaf.egetkey, rbx: WINDOW + 8, rcx: WINDOW + 0x200 }).status, LOST)
      })
      within(start(), (native) => {
        assert.equal(call(native, { leaf: 77 }).status, LOST)
        assert.match(native.fault ?? "", /#GP \(vector 13,/)
      })
    })

    test("the real image says HELLO, makes a volume that node:crypto opens, and moves its sectors", async () => {
      const made = real()
      await using client = await startImage(create, backend)
      assert.equal(client.identity.mrenclave, Buffer.from(made.mrenclave).toString("hex"))
      assert.equal(client.identity.debug, backend === "software")
      assert.equal(client.identity.memory.keys === "EPC", backend === "sgx")

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
    })

    test("a salt sealed by one enclave opens in the next of the same machine, unless it was altered", async () => {
      const passphraseKdf = { type: "argon2id", time: 2, memoryKib: 64, lanes: 2 } as const
      const first = await startImage(create, backend)
      const header = await makeHeader(first, { ...SLOT, passphraseKdf })
      await first.close()
      await using second = await startImage(create, backend)
      assert.equal((await unlock(second, header)).slot, 0)
      const sealed = Uint8Array.from(header.keyslots[0]!.sealed!)
      sealed[sealed.length - 1]! ^= 1
      const altered = { ...header, keyslots: [{ ...header.keyslots[0]!, sealed }] }
      await assert.rejects(unlock(second, altered), { code: "ENCLAVE_SEAL_DAMAGED" })
    })
  })
}

const startReal = () => startImage(createFake, "sgx")

const startFake = () => {
  const made = makeEnclave()
  const native = loadEnclave(made, { create: createFake })
  try {
    native.init(made.sigstruct, SITE)
  } catch (error) {
    native.destroy()
    throw error
  }
  return native
}

describe("the driver", () => {
  const pagesOf = (made: TestEnclave) => made.image.segments.reduce((sum, { size }) => sum + size / 4096, 0)

  test("interrupted calls are made again", () => {
    fake.configure({ interruptOpen: 3, interruptCreate: 4, interruptAdd: 5, interruptInit: 3 })
    fake.counters()
    const made = real()
    within(loadEnclave(made, { create: createFake }), (native) => {
      native.init(made.sigstruct, made.image.encluSite)
      const { addCalls, pages, initCalls } = fake.counters()
      assert.equal(pages, pagesOf(made))
      assert.deepEqual([addCalls, initCalls], [pages + 5, 4])
    })
  })

  test("a call that says EAGAIN for ever is not made for ever", () => {
    fake.configure({ openErrno: Errno.EAGAIN })
    assert.throws(startFake, withCode("EAGAIN"))
  })

  test("pages are added once each, whenever a signal comes, with the EPC full or not", () => {
    const made = real()
    for (const epcFull of [0, 1]) {
      for (const restart of [0, 1]) {
        for (const signalEvery of [2, 3, 7, 64, 1000]) {
          fake.configure({ epcFull, restart, signalEvery })
          fake.counters()
          within(loadEnclave(made, { create: createFake }), (native) => {
            native.init(made.sigstruct, made.image.encluSite)
            assert.deepEqual(native.mrenclave, made.mrenclave)
            assert.equal(fake.counters().pages, pagesOf(made))
          })
        }
      }
    }
  })

  test("XFRM is what the CPU lets an enclave have, and the enclave keeps to it", async () => {
    const made = real()
    const wanting = (xfrm: bigint) => ({ ...made, image: { ...made.image, xfrm } })
    const cases = [
      { allowed: 0xe7, wanted: 0xe7n, got: 0xe7n },
      { allowed: 0xe7, wanted: 7n, got: 7n },
      { allowed: 7, wanted: 0xe7n, got: 7n },
      { allowed: 3, wanted: 0xe7n, got: 3n },
      // A hypervisor that hands down half of AVX-512, or all of it without AVX.
      { allowed: 0x67, wanted: 0xe7n, got: 7n },
      { allowed: 0xe3, wanted: 0xe7n, got: 3n },
    ]
    for (const { allowed, wanted, got } of cases) {
      fake.configure({ xfrm: allowed })
      await using client = await startImage(createFake, "sgx", wanting(wanted))
      assert.equal(client.identity.xfrm, got, `0x${allowed.toString(16)}`)
      if (got === 3n) assert.equal(client.identity.aes, "aesni")
      await makeVolume(client)
    }
  })

  test("every refusal has its reason, and leaves nothing open", () => {
    const refusals: readonly (readonly [Wrong, string, RegExp])[] = [
      [{ openErrno: Errno.ENOENT }, "SGX_NO_DEVICE", /no \/dev\/sgx_enclave/],
      [{ openErrno: Errno.EACCES }, "SGX_NO_PERMISSION", /group/],
      [{ openErrno: Errno.EPERM }, "SGX_NO_PERMISSION", /group/],
      [{ sizeBits: 16 }, "SGX_SIZE", /at most 2\^16 bytes, and this one has 0x20000/],
      [{ xfrm: 2 }, "SGX_CREATE", /XFRM 0x2 /],
      [{ openErrno: Errno.ENOMEM }, "ENOMEM", /cannot open/],
      [{ noVdso: 1 }, "SGX_NO_VDSO", /vDSO/],
      [{ createErrno: Errno.EIO }, "SGX_CREATE", /ECREATE/],
      [{ createErrno: Errno.ENOMEM }, "ENOMEM", /cannot create/],
      [{ addErrno: Errno.ENOMEM, addAfter: 2 }, "SGX_NO_EPC", /EPC/],
      [{ addErrno: Errno.EIO }, "SGX_ADD_PAGES", /page at 0x0/],
      [{ addErrno: Errno.EACCES }, "EACCES", /cannot add/],
      [{ overCount: 1 }, "SGX_DRIVER", /0x2000 of 0x1000/],
      [{ overCount: -1 }, "SGX_DRIVER", /0x0 of 0x1000/],
      [{ initErrno: Errno.EPERM }, "SGX_EINIT", /EINIT/],
      [{ initErrno: Errno.EACCES }, "SGX_ATTRIBUTES", /ATTRIBUTES 0x4/],
      [{ initErrno: Errno.EIO }, "EIO", /initialise/],
      [{ noExec: 1 }, "SGX_NOEXEC", /remount,exec/],
      [{ mapErrno: Errno.EACCES }, "EACCES", /cannot map/],
    ]
    for (const [wrong, code, message] of refusals) {
      fake.configure(wrong)
      assert.throws(startFake, (error: NodeJS.ErrnoException) => {
        assert.match(error.message, message)
        return withCode(code)(error)
      })
    }
  })

  test("the kernel's own vDSO can be read", () => {
    assert.equal(fake.vdsoHas("__vdso_clock_gettime"), true)
    assert.equal(fake.vdsoHas("__vdso_clock_gettim"), false)
  })

  test("without SGX2 the heap is what was added, and a slot that wants more is told", async () => {
    const heaps: number[] = []
    const memoryKib = 256 * 1024
    for (const wrong of [{}, { noSgx2: 1 }, { noSgx2: 1, probeErrno: Errno.ENOTTY }]) {
      fake.configure(wrong)
      await using client = await startReal()
      await using vectors = await startVectors(createFake, "sgx")
      assert.equal(vectors.identity.kdfMemoryKib, client.identity.kdfMemoryKib)
      heaps.push(client.identity.kdfMemoryKib)
      const big = vectors.benchmark({ type: "argon2id", time: 1, memoryKib, lanes: 1 }, 64)
      if ("noSgx2" in wrong) {
        await assert.rejects(big, (error) => {
          assert.ok(error instanceof EnclaveError)
          assert.ok(error.neededKib >= memoryKib)
          return true
        })
      } else {
        assert.ok((await big) > 0)
      }
    }
    const [dynamic, fixed, old] = heaps as [number, number, number]
    assert.ok(dynamic > 1024 * 1024 && fixed < 97 * 1024 && fixed === old, heaps.join(" "))
  })
})

describe("a lost enclave", () => {
  test("an entry the vDSO refuses, and one that faults, say what happened", () => {
    fake.configure({ enterResult: EFAULT })
    within(startFake(), (native) => {
      assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
      assert.match(native.fault ?? "", /cannot enter it: error 14/)
    })
    fake.configure({})
    const made = makeEnclave({ code: [0x0f, 0x0b] })
    within(loadEnclave(made, { create: createFake }), (native) => {
      native.init(made.sigstruct, SITE)
      assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
      assert.match(native.fault ?? "", /the enclave faulted: #UD \(vector 6,/)
    })
  })

  test("suspend is told apart from a defect, whether a thread was inside or not, its pages swapped out or not", async () => {
    for (const swapped of [false, true]) {
      within(startFake(), (native) => {
        fake.lose(swapped)
        assert.equal(native.fault, null)
        assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
        assert.match(native.fault ?? "", /memory was lost/)
        fake.counters()
        assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
        assert.equal(fake.counters().entries, 0, "never entered again")
      })
      await withinAsync(startFake(), async (native) => {
        const entry = native.enterAsync(callRequest({ leaf: Leaf.egetkey, gate: false }))
        await new Promise((resolve) => setTimeout(resolve, 30))
        fake.lose(swapped)
        assert.equal(await entry, LOST)
        assert.match(native.fault ?? "", /memory was lost/)
      })
    }
  })

  test("its volume opens again in the next one", async () => {
    const first = await startReal()
    const { header } = await makeVolume(first)
    const { handle } = await unlock(first, header)
    fake.lose()
    const block = () => Buffer.from(new ArrayBuffer(4096))
    const move = (client: EnclaveClient, at: typeof handle) =>
      client.sectors(at, false, [{ input: block(), output: block(), sector: 0n }])
    assert.throws(
      () => move(first, handle),
      (error: NodeJS.ErrnoException) => {
        assert.equal(error.code, "ENCLAVE_LOST")
        assert.match(error.message, /memory was lost/)
        return true
      },
    )
    assert.equal(first.alive, false)
    await using second = await startReal()
    move(second, (await unlock(second, header)).handle)
    await first.close()
  })
})

/** One contract, two backends: the software one, and the hardware one on the fake driver; test/sgx asks it of Linux's. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { afterEach, describe, test } from "node:test"
import { createEnclave } from "../native/addon.ts"
import { contract, type Subject, withCode, within, withinAsync } from "../testing/contract.ts"
import { createFake, EFAULT, Errno, fake, type Wrong } from "../testing/fake-sgx.ts"
import { callRequest, Leaf, LOST, loadEnclave, makeEnclave, SITE, type TestEnclave } from "../testing/native.ts"
import { makeVolume, real, startImage, startVectors, unlock } from "../testing/real-image.ts"
import type { EnclaveClient } from "./client.ts"
import { EnclaveError } from "./error.ts"

const SUBJECTS = [
  { backend: "software", create: createEnclave, processor: false },
  { backend: "sgx", create: createFake, processor: true },
] as const satisfies readonly Subject[]

afterEach(() => {
  fake.configure({})
  assert.equal(fake.counters().open, 0, "a device was left open")
})

for (const subject of SUBJECTS) {
  describe(subject.backend, () => {
    for (const [name, keeps] of Object.entries(contract)) test(name, () => keeps(subject))
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
    fake.configure({ interruptOpen: 3, interruptCreate: 4, interruptAdd: 5, interruptInit: 3, interruptMap: 3 })
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

describe("the CPU", () => {
  /** `jmp` to the image's ENCLU, behind `code`. */
  const thenEnclu = (code: readonly number[]): number[] => {
    const distance = SITE - code.length - 5
    return [...code, 0xe9, ...new Uint8Array(new Int32Array([distance]).buffer)]
  }
  const EEXIT = [0xb8, 4, 0, 0, 0] // mov eax, 4
  const started = (code: readonly number[]) => {
    const made = makeEnclave({ code: thenEnclu(code) })
    const native = loadEnclave(made, { create: createFake })
    native.init(made.sigstruct, SITE)
    return native
  }

  test("single steps are not seen inside", () => {
    // pushf; or dword [rsp], 0x100; popf; nop; nop; mov rbx, rcx; xor edi, edi.
    const steps = [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90, 0x48, 0x89, 0xcb, 0x31, 0xff]
    within(started([...steps, ...EEXIT]), (native) => {
      assert.equal(native.enter(callRequest({ leaf: 0 })), 0)
      assert.equal(native.fault, null)
    })
  })

  test("EEXIT to an address that is not canonical faults inside", () => {
    const code = [0x48, 0xbb, 0, 0, 0, 0, 0, 0x80, 0, 0, ...EEXIT] // mov rbx, 1 << 47
    within(started(code), (native) => {
      assert.equal(native.enter(callRequest({ leaf: 0 })), LOST)
      assert.match(native.fault ?? "", /#GP \(vector 13,/)
    })
  })

  test("EEXIT to anywhere else goes there, and with it the process", () => {
    const code = thenEnclu([0xbb, 0, 0x10, 0, 0, ...EEXIT]) // mov ebx, 0x1000
    const from = (name: string) => JSON.stringify(new URL(name, import.meta.url).href)
    const script = `import { createFake } from ${from("../testing/fake-sgx.ts")}
      import { callRequest, loadEnclave, makeEnclave, SITE } from ${from("../testing/native.ts")}
      const made = makeEnclave({ code: ${JSON.stringify(code)} })
      const native = loadEnclave(made, { create: createFake })
      native.init(made.sigstruct, SITE)
      process.stdout.write("enters\\n")
      process.stdout.write(String(native.enter(callRequest({ leaf: 0 }))))`
    const { signal, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" })
    assert.deepEqual({ signal, stdout }, { signal: "SIGSEGV", stdout: "enters\n" })
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

import assert from "node:assert/strict"
import { test } from "node:test"
import { sgxMachine as machine } from "../testing/sgx-state.ts"
import { chooseBackend, explain } from "./loader.ts"
import { sgxState } from "./sgx-state.ts"

test("what is missing is named, with what to do about it", () => {
  const cases = [
    [machine({ flags: "", vendor: "AuthenticAMD", cpu: {} }), "absent", /shows no SGX/, /only Intel/],
    [machine({ flags: "", cpu: {} }), "absent", /shows no SGX/, /BIOS/],
    [machine({ devices: ["/dev/isgx"] }), "absent", /but \/dev\/isgx of Intel's old driver/, /remove that driver/],
    [machine({ devices: ["/dev/sgx/enclave"] }), "absent", /but \/dev\/sgx\/enclave of/, /Linux 5\.11/],
    [machine({ flags: "", kernel: "5.10.0-30-amd64" }), "absent", /Linux 5\.10\.0-30-amd64 has no SGX driver/, /5\.11/],
    [
      machine({ flags: "sgx", cpu: { launchControl: false } }),
      "absent",
      /no flexible launch control/,
      /processors since/,
    ],
    // The kernel takes the flags away, the processor still says it.
    [machine({ flags: "" }), "absent", /BIOS has locked launch control/, /launch control policy to unlocked/],
    [machine({ flags: "sgx" }), "absent", /BIOS has locked launch control/, /launch control policy to unlocked/],
    [machine({}), "absent", /built without its driver/, /CONFIG_X86_SGX/],
    [
      machine({ devices: ["/dev/sgx_enclave"] }),
      "denied",
      /may not open/,
      /usermod -aG sgx USER.* or choose --backend software/,
    ],
  ] as const
  for (const [it, device, found, remedy] of cases) {
    const state = sgxState(it)
    assert.equal(state.device, device)
    assert.match(state.found, found)
    assert.match(state.remedy ?? "", remedy)
  }
})

test("a device of the kernel's driver decides, whatever else there is", () => {
  const ready = machine({ devices: ["/dev/sgx_enclave", "/dev/isgx"], accessible: true, flags: "" })
  assert.deepEqual(sgxState(ready), { device: "ready", sgx: true, found: "/dev/sgx_enclave", remedy: null })
})

test("auto takes the hardware where there is any, and does not fall back when it is refused", () => {
  assert.equal(chooseBackend("auto", machine({})), "software")
  assert.equal(chooseBackend("auto", machine({ devices: ["/dev/isgx"] })), "software")
  assert.equal(chooseBackend("auto", machine({ devices: ["/dev/sgx_enclave"] })), "sgx")
  assert.equal(chooseBackend("auto", machine({ devices: ["/dev/sgx_enclave"], accessible: true })), "sgx")
  assert.equal(chooseBackend("software", machine({ devices: ["/dev/sgx_enclave"], accessible: true })), "software")
  assert.equal(chooseBackend("sgx", machine({})), "sgx")
})

test("a refused start says what the machine lacks, and the way out", () => {
  const refused = (code: string, it: ReturnType<typeof machine>) => {
    const error = explain(Object.assign(new Error("no /dev/sgx_enclave"), { code }), "sgx", it)
    assert.equal(error.code, code)
    assert.match(error.message, /^[^\n]+$/)
    return error.message
  }
  assert.match(refused("SGX_NO_DEVICE", machine({ devices: ["/dev/isgx"] })), /isgx of Intel's old driver.*remove that/)
  assert.match(refused("SGX_NO_DEVICE", machine({ flags: "" })), /locked launch control.*BIOS set-up/)
  assert.match(refused("SGX_NO_PERMISSION", machine({ devices: ["/dev/sgx_enclave"] })), /usermod -aG/)
  // A container's device rules refuse what the file's mode allows.
  const container = machine({ devices: ["/dev/sgx_enclave"], accessible: true })
  assert.match(refused("SGX_NO_PERMISSION", container), /--backend software/)
  assert.match(refused("SGX_EINIT", machine({})), /tresor doctor/)
})

import assert from "node:assert/strict"
import { test } from "node:test"
import { chooseBackend } from "../enclave/loader.ts"
import type { EnclaveIdentity } from "../enclave/types.ts"
import type { SgxCpu } from "../native/addon.ts"
import type { DoctorCheck } from "./doctor/check.ts"
import type { KeptFor, Machine } from "./doctor/machine.ts"
import { examine } from "./doctor.ts"

/** A machine of files and no more; what is in `accessible` can be opened. */
function machine(
  files: Readonly<Record<string, string>>,
  {
    accessible = [] as string[],
    kernel = "6.1.0",
    sgxCpu = {} as Partial<SgxCpu>,
    secretMemoryFault = null as string | null,
    ringFault = null as string | null,
  } = {},
) {
  const paths = Object.keys(files)
  const it: Machine = {
    read: (path) => files[path] ?? null,
    exists: (path) => paths.includes(path),
    accessible: (path) => accessible.includes(path),
    list: (path) =>
      paths.filter((each) => each.startsWith(`${path}/`)).map((each) => each.split("/")[path.split("/").length]!),
    has: () => false,
    sgxCpu: {
      sgx: /\bsgx\b/.test(files["/proc/cpuinfo"] ?? ""),
      launchControl: true,
      sgx2: true,
      epcBytes: 0,
      ...sgxCpu,
    },
    secretMemoryFault,
    ringFault,
    signers: new Map([["cd".repeat(32), "Example Ltd"]]),
    formerKeys: [],
    kept: [{ mrenclave: "12".repeat(32), isvSvn: 2, folder: "/state/enclaves/1212", volumes: [] }],
    runtime: "/run/user/1000/tresor",
    secret: () => ({ file: "/var/lib/tresor/machine-secret", disks: ["vda"], keeping: "file" }),
    kernel,
  }
  return it
}

const cpu = (vendor: string, flags: string) =>
  `vendor_id\t: ${vendor}\nmodel name\t: Example\nflags\t\t: fpu aes ${flags}\n`
const DEVICE = { "/dev/sgx_enclave": "" }
const checks = (it: Machine) => new Map(examine(it, new Error("no enclave")).map((check) => [check.id, check]))
const of = (it: Machine, id: string): DoctorCheck => checks(it).get(id) ?? assert.fail(`no check ${id}`)

test("no SGX: what that means, and whether the BIOS may be to blame", () => {
  const amd = of(machine({ "/proc/cpuinfo": cpu("AuthenticAMD", "") }), "sgx-cpu")
  assert.equal(amd.state, "no")
  assert.match(amd.means, /backend software/)
  assert.match(amd.remedy!, /only Intel/)
  assert.match(of(machine({ "/proc/cpuinfo": cpu("GenuineIntel", "") }), "sgx-cpu").remedy!, /BIOS/)
  assert.ok(
    !checks(machine({ "/proc/cpuinfo": cpu("AuthenticAMD", "") })).has("sgx-driver"),
    "nothing to say of SGX's parts",
  )
})

test("SGX without launch control, without a driver, without permission: each has its way out", () => {
  const bare = machine({ "/proc/cpuinfo": cpu("GenuineIntel", "sgx") })
  assert.match(of(bare, "sgx-flc").remedy!, /launch control/)
  assert.match(of(bare, "sgx-driver").remedy!, /launch control policy to unlocked/)
  const unbuilt = machine({ "/proc/cpuinfo": cpu("GenuineIntel", "sgx sgx_lc") })
  assert.match(of(unbuilt, "sgx-driver").remedy!, /CONFIG_X86_SGX/)
  assert.equal(of(bare, "sgx-permission").state, "info")
  const closed = machine({ "/proc/cpuinfo": cpu("GenuineIntel", "sgx sgx_lc"), ...DEVICE })
  assert.equal(of(closed, "sgx-permission").state, "no")
  assert.match(of(closed, "sgx-permission").remedy!, /usermod -aG sgx/)
})

test("what the kernel keeps to itself is asked of the processor: SGX turned off, its EPC, SGX2", () => {
  const off = machine({ "/proc/cpuinfo": cpu("GenuineIntel", "") }, { sgxCpu: { sgx: true } })
  assert.match(of(off, "sgx-cpu").found, /it has SGX, but the kernel does not use it/)
  assert.match(of(off, "sgx-flc").found, /locked by the BIOS/)
  assert.match(of(off, "sgx-driver").remedy!, /launch control policy/)
  const never = machine({ "/proc/cpuinfo": cpu("GenuineIntel", "sgx") }, { sgxCpu: { launchControl: false } })
  assert.match(of(never, "sgx-flc").found, /absent in this processor/)
  const old = { "/proc/cpuinfo": cpu("GenuineIntel", ""), "/dev/isgx": "" }
  assert.match(of(machine(old), "sgx-driver").found, /isgx of Intel's old driver/)
  const files = { "/proc/cpuinfo": cpu("GenuineIntel", "sgx sgx_lc"), ...DEVICE }
  const first = machine(files, { accessible: ["/dev/sgx_enclave"], sgxCpu: { sgx2: false, epcBytes: 96 << 20 } })
  assert.match(of(first, "sgx-epc").found, /^96/)
  assert.match(of(first, "sgx2").found, /SGX1 only/)
})

test("doctor says of `auto` what `auto` does", () => {
  const cpuinfo = { "/proc/cpuinfo": cpu("GenuineIntel", "sgx sgx_lc") }
  const machines = [
    machine(cpuinfo),
    machine({ ...cpuinfo, "/dev/isgx": "" }),
    machine({ ...cpuinfo, ...DEVICE }),
    machine({ ...cpuinfo, ...DEVICE }, { accessible: ["/dev/sgx_enclave"] }),
  ]
  for (const it of machines) {
    const said = [...checks(it).values()].filter(({ means }) => /backend software is used/.test(means)).length > 0
    assert.equal(said, chooseBackend("auto", it) === "software")
  }
  assert.match(of(machines[2]!, "sgx-permission").means, /`--backend auto` takes SGX and is refused/)
})

test("a machine with everything needs nothing", () => {
  const node = "/sys/devices/system/node"
  const all = machine(
    {
      "/proc/cpuinfo": cpu("GenuineIntel", "sgx sgx_lc vaes avx512f"),
      ...DEVICE,
      [`${node}/node0/x86/sgx_total_bytes`]: String(64 << 20),
      [`${node}/node1/x86/sgx_total_bytes`]: String(128 << 20),
      "/var/run/aesmd/aesm.socket": "",
      "/etc/sgx_default_qcnl.conf": "PCCS_URL=https://localhost",
    },
    { accessible: ["/dev/sgx_enclave"] },
  )
  for (const id of ["sgx-cpu", "sgx-flc", "sgx-driver", "sgx-permission", "sgx-epc", "sgx2", "aesmd", "pccs"]) {
    assert.equal(of(all, id).remedy, null, id)
  }
  assert.match(of(all, "sgx-epc").found, /192/)
  assert.match(of(all, "aes").found, /512 bits/)
})

test("little EPC, an old kernel, no aesmd and no PCCS are told", () => {
  const node = "/sys/devices/system/node/node0/x86/sgx_total_bytes"
  const files = { "/proc/cpuinfo": cpu("GenuineIntel", "sgx sgx_lc"), ...DEVICE, [node]: String(32 << 20) }
  const poor = machine(files, { kernel: "5.15.0" })
  assert.match(of(poor, "sgx-epc").remedy!, /PRMRR/)
  assert.match(of(poor, "sgx2").remedy!, /6\.0/)
  assert.match(of(poor, "aesmd").remedy!, /sgx-aesm-service/)
  assert.match(of(poor, "pccs").remedy!, /PCCS_URL/)
})

test("of SGX2, an enclave that was just started knows better than the processor", () => {
  const files = { ...DEVICE, "/proc/cpuinfo": cpu("GenuineIntel", "sgx sgx_lc") }
  const it = machine(files, { accessible: ["/dev/sgx_enclave"] })
  const sgx2 = (kdfMemoryKib: number) =>
    examine(it, { ...identity("sgx", { keys: "EPC", stacks: "EPC", heap: "EPC" }), kdfMemoryKib }).find(
      ({ id }) => id === "sgx2",
    )!
  assert.deepEqual(
    [sgx2(96 << 10).state, sgx2(96 << 10).found],
    ["info", "the enclave that was just started has 96 MiB for a KDF"],
  )
  assert.deepEqual(
    [sgx2(1152 << 10).state, sgx2(1152 << 10).found],
    ["yes", "the enclave that was just started has 1.1 GiB for a KDF"],
  )
  assert.equal(of(it, "sgx2").found, "supported by the processor and Linux")
})

test("every check says what it found and what that means", () => {
  for (const { name, found, means } of checks(machine({})).values()) {
    for (const text of [name, found, means]) assert.match(text, /^[^\n]+$/)
  }
})

const identity = (backend: "software" | "sgx", memory: EnclaveIdentity["memory"]) =>
  ({ backend, memory, aes: "aesni", kdfMemoryKib: 65536, mrsigner: "ab".repeat(32) }) as EnclaveIdentity

test("software: each kind of memory, the machine secret's place and the machine's settings are told; sgx: none of it", () => {
  const it = machine({ "/proc/sys/kernel/yama/ptrace_scope": "3\n", "/proc/modules": "" })
  const memory = { keys: "memfd_secret", stacks: "mlock", heap: "plain" }
  const told = new Map(examine(it, identity("software", memory)).map((check) => [check.id, check]))
  assert.deepEqual(
    ["memory-keys", "memory-stacks", "memory-heap"].map((id) => told.get(id)!.state),
    ["yes", "info", "no"],
  )
  assert.match(told.get("enclave")!.means, /^protected: passphrases and keys, from core dumps, hibernation images;/)
  assert.match(told.get("exposed")!.means, /root that traces/)
  assert.equal(told.get("machine-secret")!.found, "/var/lib/tresor/machine-secret on vda")
  const signer = (change: Partial<Machine>, mrsigner = "ab".repeat(32)) =>
    examine({ ...it, ...change }, { ...identity("software", memory), mrsigner }).find(({ id }) => id === "signer")!
  assert.match(signer({}).found, /^no release key; the build throws its own away$/)
  assert.match(signer({}, "cd".repeat(32)).found, /^release key of Example Ltd$/)
  const kept = (change: Partial<Machine>) =>
    examine({ ...it, ...change }, { ...identity("software", memory), mrenclave: "12".repeat(32) }).find(
      ({ id }) => id === "kept-images",
    )!
  const [own] = it.kept as readonly KeptFor[]
  assert.equal(kept({}).found, "1212121212121212… (version 2, this installation's; /state/enclaves/1212)")
  assert.equal(kept({}).remedy, null)
  const before = { mrenclave: "34".repeat(32), isvSvn: 1, folder: "/state/enclaves/3434", volumes: ["work", "other"] }
  const two = kept({ kept: [own!, before] })
  assert.match(two.found, /; 3434343434343434… \(version 1, for work, other; \/state\/enclaves\/3434\)$/)
  assert.match(two.remedy!, /tresor dump/)
  assert.match(kept({ kept: [{ ...before, volumes: [] }] }).found, /no open volume needs it/)
  assert.equal(kept({ kept: [] }).state, "no")
  assert.equal(kept({ kept: new Error("EACCES: permission denied") }).found, "EACCES: permission denied")
  const left = signer({ formerKeys: ["/state/signer.pem"] })
  assert.equal(left.state, "no")
  assert.match(left.found, /left \/state\/signer\.pem$/)
  assert.equal(told.get("ptrace")!.state, "yes")
  assert.equal(told.get("modules")!.state, "no")
  const hardware = examine(it, identity("sgx", { keys: "EPC", stacks: "EPC", heap: "EPC" })).map(({ id }) => id)
  for (const id of ["memory-keys", "machine-secret", "ptrace", "lockdown", "perf"]) {
    assert.ok(told.has(id), id)
    assert.ok(!hardware.includes(id), id)
  }
})

test("a missing memfd_secret: the kernel's lack, a filter's refusal and a full limit are told apart", () => {
  const memory = { keys: "mlock", stacks: "mlock", heap: "mlock" }
  const remedy = (secretMemoryFault: string | null) =>
    examine(machine({}, { secretMemoryFault }), identity("software", memory)).find(({ id }) => id === "memory-keys")!
      .remedy!
  assert.match(remedy("ENOSYS"), /Linux 5\.14/)
  assert.match(remedy("EPERM"), /seccomp filter/)
  assert.doesNotMatch(remedy("EPERM"), /Linux 5\.14/)
  assert.match(remedy(null), /RLIMIT_MEMLOCK/)
})

test("io_uring that is refused: who serves instead, and what allows it", () => {
  assert.equal(of(machine({}), "io_uring").state, "yes")
  const refused = of(machine({}, { ringFault: "EPERM" }), "io_uring")
  assert.equal(refused.state, "info")
  assert.match(refused.found, /EPERM/)
  assert.match(refused.means, /threads/)
  assert.match(refused.remedy!, /io_uring_disabled/)
  assert.match(of(machine({}, { ringFault: "ENOSYS" }), "io_uring").remedy!, /CONFIG_IO_URING/)
  assert.equal(of(machine({}, { ringFault: "ENOMEM" }), "io_uring").remedy, null)
})

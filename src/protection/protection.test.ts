import assert from "node:assert/strict"
import { test } from "node:test"
import { judge, type MachineFacts, type Openness } from "./judge.ts"
import { readMachine } from "./read.ts"
import { describeMemory, placeOf, protection, secretRisk, weakest } from "./words.ts"

const KINDS = ["memfd_secret", "mlock", "plain"] as const

function* memories() {
  for (const keys of KINDS) for (const stacks of KINDS) for (const heap of KINDS) yield { keys, stacks, heap }
}

test("software: nothing is promised beyond the weakest memory, in all 27 combinations", () => {
  for (const memory of memories()) {
    const name = JSON.stringify(memory)
    const said = protection("software", memory, true)
    const promised = said.protected.join("\n")
    const exposed = said.exposed.join("\n")
    const kinds = Object.values(memory)
    const [plain, mlock] = [kinds.includes("plain"), kinds.includes("mlock")]
    assert.match(promised, /core dumps/, name)
    assert.equal(/swap/.test(promised), !plain, name)
    assert.equal(/reads of tresord's memory/.test(promised), !plain && !mlock, name)
    // One memfd_secret anywhere keeps the whole machine from hibernating.
    assert.equal(/hibernation/.test(promised), kinds.includes("memfd_secret"), name)
    assert.equal(/hibernation/.test(exposed), !kinds.includes("memfd_secret"), name)
    assert.equal(/from swap/.test(exposed), plain, name)
    assert.equal(/ordinary memory/.test(exposed), plain, name)
    assert.equal(/locked memory/.test(exposed), mlock, name)
    // Each region that is weaker is named with its own kind.
    for (const [region, word] of [
      ["keys", /^the keys|; the keys/],
      ["stacks", /registers saved/],
      ["heap", /the heap/],
    ] as const) {
      const lines = said.exposed.filter((line) => word.test(line))
      assert.equal(lines.length, memory[region] === "memfd_secret" ? 0 : 1, `${name} ${region}`)
      if (memory[region] === "mlock") assert.match(lines[0]!, /: it is locked memory$/)
      if (memory[region] === "plain") assert.match(lines[0]!, /: it is ordinary memory$/)
    }
  }
})

test("software: root that traces, probes or runs code is never said to be kept out", () => {
  for (const memory of memories()) {
    const said = protection("software", memory, true)
    assert.ok(said.exposed.some((line) => /root that traces .*probes .*runs code in tresord/.test(line)))
    for (const line of said.protected) assert.doesNotMatch(line, /trac|debugg|uprobe|from root,|kernel|DMA|cold boot/)
  }
})

test("sgx: root and the kernel are kept out; a software enclave that claims the EPC gains nothing by it, a debug enclave loses it", () => {
  const epc = { keys: "EPC", stacks: "EPC", heap: "EPC" }
  assert.match(protection("sgx", epc, false).protected[0]!, /from root, the kernel/)
  assert.doesNotMatch(protection("software", epc, true).protected.join(), /swap|reads|root/)
  assert.doesNotMatch(protection("software", { ...epc, heap: "a new kind" }, true).protected.join(), /swap|reads|root/)
  const { protected: kept, exposed } = protection("sgx", epc, true)
  assert.doesNotMatch(kept.join(), /root|kernel|guessing/)
  assert.match(exposed[0]!, /from root and the kernel: this is a debug enclave/)
  assert.equal(weakest({ keys: "memfd_secret", stacks: "EPC", heap: "mlock" }), "mlock")
  assert.equal(describeMemory("a new kind"), describeMemory("plain"))
})

function* machines(): Generator<MachineFacts> {
  for (const ptraceScope of [null, 0, 1, 2, 3])
    for (const lockdown of [null, "none", "integrity", "confidentiality"] as const)
      for (const perfParanoid of [null, -1, 0, 1, 2, 3, 4])
        for (const unprivilegedBpfDisabled of [null, 0, 1, 2])
          for (const procMem of [null, "always", "ptrace", "never"] as const)
            for (const modules of ["none", "signed", "any"] as const)
              for (const kexecDisabled of [null, 0, 1])
                for (const hibernates of [false, true])
                  for (const secretMemory of [false, true])
                    yield {
                      ...{ ptraceScope, lockdown, perfParanoid, unprivilegedBpfDisabled, procMem },
                      ...{ modules, kexecDisabled, hibernates, secretMemory },
                    }
}

test("every machine of 40320 gets eight judgements of one line each, and an open way has its remedy", () => {
  let count = 0
  for (const facts of machines()) {
    count++
    const judgements = judge(facts)
    assert.equal(judgements.length, 8)
    for (const { id, verdict, found, means, remedy } of judgements) {
      for (const text of [found, means]) assert.match(text, /^[^\n]+$/, id)
      assert.ok(verdict !== "open" || remedy !== null, `${id}: ${found}`)
      assert.ok(verdict !== "closed" || remedy === null, `${id}: ${found}`)
      // Nothing read here keeps root from its keys for good: no judgement may say so.
      assert.doesNotMatch(`${means} ${found}`, /keys are safe|protected from root|root cannot/)
    }
    // perf and BPF stay root's whatever is set, where the kernel has them.
    const of = (wanted: string) => judgements.find(({ id }) => id === wanted)!
    if (facts.perfParanoid !== null) assert.match(of("perf").means, /root can sample/)
    if (facts.unprivilegedBpfDisabled !== null) assert.match(of("bpf").means, /root's BPF programs read tresord/)
    if (facts.lockdown !== null && facts.lockdown !== "none") assert.match(of("lockdown").means, /perf and BPF/)
  }
  assert.equal(count, 5 * 4 * 7 * 4 * 4 * 3 * 3 * 2 * 2)
})

test("a stricter setting is never judged worse", () => {
  const rank: Readonly<Record<Openness, number>> = { open: 0, narrowed: 1, closed: 2 }
  const lax: MachineFacts = {
    ...{ ptraceScope: 0, lockdown: "none", perfParanoid: -1, unprivilegedBpfDisabled: 0, procMem: "always" },
    ...{ modules: "any", kexecDisabled: 0, hibernates: true, secretMemory: false },
  }
  const steps: readonly (readonly [keyof MachineFacts, readonly unknown[]])[] = [
    ["ptraceScope", [0, 1, 2, 3]],
    ["lockdown", ["none", "integrity", "confidentiality"]],
    ["perfParanoid", [-1, 0, 1, 2, 3, 4]],
    ["unprivilegedBpfDisabled", [0, 2, 1]],
    ["procMem", ["always", "ptrace", "never"]],
    ["modules", ["any", "signed", "none"]],
    ["kexecDisabled", [0, 1]],
    ["hibernates", [true, false]],
    ["secretMemory", [false, true]],
  ]
  for (const [field, values] of steps) {
    let before = judge({ ...lax, [field]: values[0] } as MachineFacts)
    let better = 0
    for (const value of values.slice(1)) {
      const now = judge({ ...lax, [field]: value } as MachineFacts)
      now.forEach(({ id, verdict }, index) => {
        assert.ok(rank[verdict] >= rank[before[index]!.verdict], `${field} ${value}: ${id}`)
        better += rank[verdict] - rank[before[index]!.verdict]
      })
      before = now
    }
    assert.ok(better > 0, `${field} makes no difference`)
  }
})

test("the facts are read from the kernel's own files, and absent files are absent facts", () => {
  const files = (content: Readonly<Record<string, string>>) => ({
    read: (path: string) => content[path] ?? null,
    exists: (path: string) => path in content,
  })
  assert.deepEqual(readMachine(files({}), false), {
    ...{ ptraceScope: null, lockdown: null, perfParanoid: null, unprivilegedBpfDisabled: null, procMem: null },
    ...{ modules: "none", kexecDisabled: null, hibernates: false, secretMemory: false },
  })
  const full = {
    "/proc/sys/kernel/yama/ptrace_scope": "1\n",
    "/sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "/proc/sys/kernel/perf_event_paranoid": "-1\n",
    "/proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
    "/proc/cmdline":
      "quiet proc_mem.force_override=always x=proc_mem.force_override=ptrace proc_mem.force_override=never\n",
    "/proc/modules": "",
    "/proc/sys/kernel/modules_disabled": "0\n",
    "/sys/module/module/parameters/sig_enforce": "Y\n",
    "/proc/sys/kernel/kexec_load_disabled": "0\n",
    "/sys/power/state": "freeze mem disk\n",
    "/sys/power/disk": "[platform] shutdown reboot\n",
  }
  assert.deepEqual(readMachine(files(full), true), {
    ...{ ptraceScope: 1, lockdown: "integrity", perfParanoid: -1, unprivilegedBpfDisabled: 2, procMem: "never" },
    ...{ modules: "signed", kexecDisabled: 0, hibernates: true, secretMemory: true },
  })
  assert.equal(readMachine(files({ ...full, "/sys/power/disk": "[disabled]\n" }), true).hibernates, false)
  assert.equal(readMachine(files({ ...full, "/proc/sys/kernel/modules_disabled": "1\n" }), true).modules, "none")
})

test("the machine secret: where it lies, and what its disk's thief has", () => {
  assert.equal(
    placeOf("/var/lib/tresor/machine-secret", ["vda", "vdb"]),
    "/var/lib/tresor/machine-secret on vda and vdb",
  )
  assert.equal(placeOf("/m", []), "/m")
  assert.match(secretRisk(true), /on the disk of the volume: a thief has both/)
  for (const shared of [false, null]) assert.match(secretRisk(shared), /its disk and the volume's/)
  for (const shared of [true, null])
    assert.match(secretRisk(shared, "tpm2"), /of no use without this machine; who has all/)
  assert.match(secretRisk(true, "tpm2-pin"), /without this machine and the PIN$/)
})

test("the machine secret: without a PIN, who has the whole machine is never said to be kept out", () => {
  const memory = { keys: "memfd_secret", stacks: "memfd_secret", heap: "memfd_secret" }
  const said = (keeping: "file" | "tpm2" | "tpm2-pin") => protection("software", memory, true, keeping)
  const whole = /a thief of the whole machine/
  assert.deepEqual(said("file"), protection("software", memory, true))
  for (const keeping of ["file", "tpm2"] as const) assert.doesNotMatch(said(keeping).protected.join(), whole)
  assert.match(said("tpm2").exposed.join(), whole)
  assert.match(said("tpm2").protected.join(), /guessing with stolen disks/)
  assert.match(said("tpm2-pin").protected.join(), whole)
  // Root on the running machine has it in any case.
  for (const keeping of ["file", "tpm2", "tpm2-pin"] as const)
    assert.match(said(keeping).exposed.join(), /root that traces/)
})

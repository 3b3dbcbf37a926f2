/**
 * `npm run bench:vm [-- --rounds N --cpu MODEL]`: dm-crypt over tresor.ko beside dm-crypt's own AES, and what a message
 * per 16-byte block costs, as in 2016. One boot of an emulated machine: only the ratios mean anything. Needs root's
 * packages of `npm run test:vm`.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { buildModules, buildPrograms, CPU, logs } from "../test/vm/checks.ts"
import { headersOf, laterKernel } from "../test/vm/kernels.ts"
import { Machine, root, run } from "../test/vm/machine.ts"
import { median } from "./statistics.ts"

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, cpu: { type: "string", default: CPU } },
})
const rounds = Number(values.rounds)
if (!Number.isInteger(rounds) || rounds < 1 || rounds > 50) {
  process.stderr.write(`bench:vm: error: Cannot run ${values.rounds} rounds; name a number from 1 to 50\n`)
  process.exit(1)
}

const kernel = laterKernel()
buildPrograms()
const modules = buildModules(kernel)
// BTF wants a vmlinux and the kernel's own pahole.
const words = ["CC=gcc", "CONFIG_DEBUG_INFO_BTF_MODULES=", `M=${join(root, "bench/netlink")}`, "modules"]
run("make", ["-s", "-C", headersOf(kernel), ...words])
run("gcc", ["-O2", "-Wall", "-Werror", "-o", join(root, "build/vm/blocks"), join(root, "bench/netlink/blocks.c")])

/** "variant test" -> MB/s, one for each round. */
const measured = new Map<string, number[]>()
const note = (key: string, value: number) => measured.set(key, [...(measured.get(key) ?? []), value])
let failed = false
const options = {
  kernel,
  parts: ["bench"],
  kernelWords: `${modules} tresor.rounds=${rounds}`,
  cpu: values.cpu,
  memoryMib: 1536,
  seconds: 300 + 240 * rounds,
}
await Machine.run({ ...options, directory: logs(options) }, (line) => {
  const [word, variant = "", test = "", first, second] = line.split(" ")
  if (word === "bench" && variant === "netlink") note("netlink block", (Number(first) * 16e3) / Number(second))
  else if (word === "bench") note(`${variant} ${test}`, Number(first))
  else if (word === "not" || word === "#") process.stderr.write(`${line}\n`)
  if (word === "not") failed = true
  return undefined
})

const results = join(root, "build", "bench")
mkdirSync(results, { recursive: true })
writeFileSync(join(results, "vm.json"), `${JSON.stringify(Object.fromEntries(measured), null, 2)}\n`)

const of = (variant: string, test: string): number | null => {
  const found = measured.get(`${variant} ${test}`)?.filter(Number.isFinite) ?? []
  return found.length === 0 ? null : median(found)
}
const TESTS = [
  "write-128k",
  "read-128k",
  "write-4k-qd32",
  "read-4k-qd32",
  "write-4k-qd1",
  "read-4k-qd1",
  "dd-write",
  "hdparm-t",
  "hdparm-T",
]
const VARIANTS = ["loop", "null-4096", "aes-512", "copy-4096", "tresor-512", "tresor-4096", "nbd-4096", "ublk-4096"]
const cell = (value: number | null) => (value === null ? "-" : value.toFixed(2)).padStart(13)
process.stdout.write(
  `\nShare of dm-crypt's aes-xts on 4096-byte sectors, medians of ${rounds} rounds, Linux ${kernel.release}, -cpu ${values.cpu}\n\n`,
)
process.stdout.write(`${"".padEnd(14)}${VARIANTS.map((variant) => variant.padStart(13)).join("")}\n`)
for (const test of TESTS) {
  const aes = of("aes-4096", test)
  const ratios = VARIANTS.map((variant) => {
    const value = of(variant, test)
    return aes === null || value === null ? null : value / aes
  })
  process.stdout.write(`${test.padEnd(14)}${ratios.map(cell).join("")}\n`)
}
const blocks = of("netlink", "block")
const ours = of("tresor-4096", "write-128k")
if (blocks !== null && ours !== null) {
  const times = (ours / blocks).toFixed(0)
  process.stdout.write(
    `\nA message per 16-byte block, as in 2016: ${blocks.toFixed(3)} MB/s; tresor-4096 writes ${times} times that.\n`,
  )
}
process.exit(failed || measured.size === 0 ? 1 : 0)

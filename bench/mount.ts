/**
 * node_modules/.bin/node bench/mount.ts [--json]      (as root)
 *
 * ext4 through `tresor mount` beside ext4 on a loop device of a plain file:
 * dd with fdatasync, reading after mounting anew, hdparm -t, fio 4 KiB.
 * Rounds alternate; medians of three.
 */
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import { createVolume, removeFolder, tresorIn, writeKey } from "./contenders.ts"
import { summarize } from "./statistics.ts"

const run = promisify(execFile)
const ROUNDS = 3
const IMAGE = 1 << 30
const DD_MIB = 256
const MEASURES = [
  "dd write, fdatasync",
  "read, mounted anew",
  "hdparm -t",
  "4k randread qd16",
  "4k randwrite qd16",
] as const
type Measure = (typeof MEASURES)[number]

interface Mounted {
  readonly directory: string
  readonly mount: () => Promise<void>
  readonly unmount: () => Promise<void>
}

/** Both have a filesystem and are not mounted. */
async function prepare(folder: string): Promise<Readonly<Record<"tresor mount" | "loop, plain", Mounted>>> {
  const key = writeKey(folder)
  const tresor = tresorIn(folder)
  const [volume, plain] = [join(folder, "volume"), join(folder, "plain")]
  const [ours, theirs] = [join(folder, "ours"), join(folder, "theirs")]
  mkdirSync(ours)
  mkdirSync(theirs)
  await createVolume(folder, volume, IMAGE)
  await tresor("mount", volume, ours, "--mkfs", "ext4", "--key-file", key)
  await tresor("umount", ours)
  writeFileSync(plain, "")
  truncateSync(plain, IMAGE)
  await run("mkfs.ext4", ["-q", plain])
  return {
    "tresor mount": {
      directory: ours,
      mount: async () => void (await tresor("mount", volume, ours, "--key-file", key)),
      unmount: async () => void (await tresor("umount", ours)),
    },
    "loop, plain": {
      directory: theirs,
      mount: async () => void (await run("mount", ["-o", "loop", plain, theirs])),
      unmount: async () => void (await run("umount", [theirs])),
    },
  }
}

/** MB/s of `bytes` moved by a command. */
async function timed(bytes: number, command: string, args: readonly string[]): Promise<number> {
  const started = performance.now()
  await run(command, args)
  return bytes / 1e3 / (performance.now() - started)
}

async function fioKiops(file: string, rw: string): Promise<number> {
  const { stdout } = await run("fio", [
    "--name=mount",
    "--thread",
    "--ioengine=libaio",
    "--direct=1",
    `--filename=${file}`,
    `--rw=${rw}`,
    "--bs=4k",
    "--iodepth=16",
    `--size=${DD_MIB}m`,
    "--time_based",
    "--runtime=1500ms",
    "--output-format=json",
  ])
  const [job] = JSON.parse(stdout.slice(stdout.indexOf("{"))).jobs
  return job[rw === "randread" ? "read" : "write"].iops / 1e3
}

async function measure({ directory, mount, unmount }: Mounted): Promise<Record<Measure, number>> {
  const file = join(directory, "file")
  const bytes = DD_MIB << 20
  let mounted = false
  const up = async () => {
    await mount()
    mounted = true
  }
  const down = async () => {
    await unmount()
    mounted = false
  }
  try {
    await up()
    const block = ["bs=1M", "status=none"]
    const write = await timed(bytes, "dd", [
      "if=/dev/zero",
      `of=${file}`,
      `count=${DD_MIB}`,
      "conv=fdatasync",
      ...block,
    ])
    await down()
    await up()
    const read = await timed(bytes, "dd", [`if=${file}`, "of=/dev/null", ...block])
    const device = (await run("findmnt", ["-n", "-o", "SOURCE", directory])).stdout.trim()
    const said = (await run("hdparm", ["-t", device])).stdout
    const hdparm = Number(/= *([\d.]+) MB\/sec/.exec(said)?.[1] ?? Number.NaN)
    const [randread, randwrite] = [await fioKiops(file, "randread"), await fioKiops(file, "randwrite")]
    return {
      "dd write, fdatasync": write,
      "read, mounted anew": read,
      "hdparm -t": hdparm,
      "4k randread qd16": randread,
      "4k randwrite qd16": randwrite,
    }
  } finally {
    if (mounted) await down()
  }
}

const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } })
const folder = mkdtempSync(join(tmpdir(), "tresor-bench-"))
try {
  const contenders = await prepare(folder)
  const [ours, theirs]: [Record<Measure, number>[], Record<Measure, number>[]] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await measure(contenders["tresor mount"]))
    theirs.push(await measure(contenders["loop, plain"]))
  }
  const lines = MEASURES.map((name) => {
    const of = (rounds: readonly Record<Measure, number>[]) => summarize(rounds.map((each) => each[name])).median
    return { name, unit: name.startsWith("4k") ? "kIOPS" : "MB/s", tresor: of(ours), plain: of(theirs) }
  })
  if (values.json) {
    process.stdout.write(`${JSON.stringify(lines, null, 2)}\n`)
  } else {
    for (const { name, unit, tresor, plain } of lines) {
      const share = `${Math.round((tresor / plain) * 100)} %`
      process.stdout.write(`${name}: ${tresor.toFixed(1)} ${unit}, plain loop ${plain.toFixed(1)}, ${share}\n`)
    }
  }
} finally {
  removeFolder(folder)
}

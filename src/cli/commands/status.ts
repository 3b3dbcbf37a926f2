import { statSync } from "node:fs"
import { formatSize } from "../../base/size.ts"
import { connectVolume } from "../../control/daemon.ts"
import type { VolumeStatus } from "../../control/volume.ts"
import { secretDir, secretFile, userName } from "../../enclave/machine-secret.ts"
import { releaseSigners } from "../../enclave/release-signers.ts"
import { adoptOwner, secretOwner } from "../../enclave/secret-owner.ts"
import { systemFiles } from "../../enclave/system-files.ts"
import { disksOf, sameDisk } from "../../protection/disks.ts"
import { judge } from "../../protection/judge.ts"
import { readMachine } from "../../protection/read.ts"
import { keepingIn } from "../../protection/secret.ts"
import { describeMemory, placeOf, protection, type SecretKeeping, secretRisk } from "../../protection/words.ts"
import { answers, fateOf } from "../../store/held-path.ts"
import { nothingOpen } from "../messages.ts"
import { openVolumes } from "../open-volumes.ts"
import { out } from "../output/output.ts"
import { shade, type Worth } from "../output/state.ts"
import { summary } from "../summary.ts"
import { facts } from "../table.ts"

const STATES: Readonly<Record<VolumeStatus["state"], string>> = {
  locked: "locked: no keys are held, I/O waits for `tresor setkey`",
  unlocked: "unlocked",
  failed: "failed: no key came in time, I/O ends in errors until `tresor setkey`",
  closing: "closing: requests in flight are finished and flushed",
}

const EXPORTS: Readonly<Record<VolumeStatus["export"], string>> = {
  nbd: "NBD",
  block: "a block device by ublk",
  "vhost-user": "a disk of a virtual machine (vhost-user-blk)",
  kernel: "a dm-crypt mapping through tresor.ko",
}

const VERDICTS = { closed: "good", narrowed: "fair", open: "bad" } as const
const MEMORY: Readonly<Record<string, Worth>> = { EPC: "good", memfd_secret: "good", mlock: "fair" }

export function stateWorth(state: VolumeStatus["state"]): Worth {
  return state === "unlocked" ? "good" : state === "failed" ? "bad" : "fair"
}

/** One word, and how far its reencryption is. */
export function stateWords({ state, reencryption }: VolumeStatus): string {
  if (reencryption === null) return state
  const { done, total } = reencryption
  return `${state}, reencryption ${reencryption.state} ${total === 0 ? 0 : Math.floor((100 * done) / total)} %`
}

const inMemory = (kind: string): string => shade(MEMORY[kind] ?? "bad", describeMemory(kind))

/** What this machine's settings add; nothing to an SGX enclave's keys. */
function judgements({ enclave }: VolumeStatus) {
  if (enclave.backend === "sgx") return []
  return judge(readMachine(systemFiles, Object.values(enclave.memory).includes("memfd_secret")))
}

interface SecretPlace {
  readonly keeping: SecretKeeping
  readonly words: string
}

/** Of the software backend, whose seals depend on it; another user's lies where that user keeps it. */
function secretPlace({ enclave, path, pid }: VolumeStatus, silent: readonly string[]): SecretPlace | null {
  const owner = statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid
  if (enclave.backend === "sgx" || owner !== process.getuid!() || silent.includes(path)) return null
  // tresord chose by the same rule.
  adoptOwner(path)
  const file = secretFile(secretDir())
  const disks = disksOf(file)
  const whose = userName(secretOwner()?.uid ?? owner)
  const keeping = keepingIn(secretDir())
  return {
    keeping,
    words: `${placeOf(file, disks)}, of ${whose}: ${secretRisk(sameDisk(disks, disksOf(path)), keeping)}`,
  }
}

/** What clients have, and for a file what it takes: its header lies in it. */
function describeSize({ path, size }: VolumeStatus, untold: readonly string[]): string {
  if (untold.includes(path)) return `${formatSize(size)} usable`
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isFile() === true && stat.size !== size
    ? `${formatSize(size)} usable, in a file of ${formatSize(stat.size)}`
    : `${formatSize(size)} usable`
}

const FATES = {
  deleted: (path: string) =>
    `${path} is deleted: tresord still has it open, and it is lost when the volume is closed; copy the data before`,
  replaced: (path: string) =>
    `${path} is another file by now: tresord still has the one open that it began with, which is lost when the volume ` +
    "is closed unless it has another name; copy the data before",
}

const hangs = (path: string): string =>
  `${path} does not answer: its filesystem waits for a device or server that hangs; requests wait, and \`tresor close\` ` +
  "gives up those that do not end"

/** Of data and detached header: those that hang, and nobody here may look at. */
async function findSilent({ opened }: VolumeStatus): Promise<string[]> {
  const paths = [...new Set(opened.map(({ path }) => path))]
  const answered = await Promise.all(paths.map(answers))
  return paths.filter((_, index) => !answered[index])
}

/** Of the others. */
function findLost({ opened }: VolumeStatus, silent: readonly string[]) {
  return opened.flatMap(({ path, identity }) => {
    if (silent.includes(path)) return []
    const fate = fateOf(path, identity)
    return fate === null ? [] : [{ path, fate }]
  })
}

/** The object of `status --json`. */
function jsonOf(volume: VolumeStatus, found: Found) {
  const { publicKey, xfrm, ...enclave } = volume.enclave
  const printable = { ...enclave, publicKey: Buffer.from(publicKey).toString("hex"), xfrm: `0x${xfrm.toString(16)}` }
  const keeping = found.machineSecret?.keeping
  const safe = { ...protection(enclave.backend, enclave.memory, enclave.debug, keeping), machine: judgements(volume) }
  const machineSecret = found.machineSecret?.words ?? null
  return {
    ...summary(volume),
    ...volume,
    enclave: printable,
    backend: enclave.backend,
    ...safe,
    ...found,
    machineSecret,
  }
}

interface Found {
  readonly machineSecret: SecretPlace | null
  readonly lostPaths: ReturnType<typeof findLost>
  readonly silentPaths: readonly string[]
}

/** What is seen from here, and not asked of tresord. */
async function look(volume: VolumeStatus): Promise<Found> {
  const silentPaths = await findSilent(volume)
  return {
    machineSecret: secretPlace(volume, silentPaths),
    lostPaths: findLost(volume, silentPaths),
    silentPaths,
  }
}

/** Without a name, all that are open: text of one after the other, or an array. */
export async function status(name: string | undefined, options: { readonly json?: true }): Promise<void> {
  if (name !== undefined) {
    using client = await connectVolume(name, { others: true })
    const volume = await client.status()
    const found = await look(volume)
    if (options.json === true) out.json(jsonOf(volume, found))
    else print(volume, found)
    return
  }
  const volumes = (await openVolumes()).flatMap(({ volume }) => volume ?? [])
  const found = await Promise.all(volumes.map(look))
  if (options.json === true) out.json(volumes.map((volume, index) => jsonOf(volume, found[index]!)))
  else if (volumes.length === 0) out.line(nothingOpen)
  for (const [index, volume] of options.json === true ? [] : volumes.entries()) {
    if (index > 0) out.text("\n")
    print(volume, found[index]!)
  }
}

function print(volume: VolumeStatus, { machineSecret, lostPaths, silentPaths }: Found): void {
  const untold = [...lostPaths.map(({ path }) => path), ...silentPaths]
  const { enclave } = volume
  const safe = protection(enclave.backend, enclave.memory, enclave.debug, machineSecret?.keeping)
  const listed = (title: string, lines: readonly string[], worth: Worth) =>
    lines.map((line, i) => [i === 0 ? shade(worth, title) : "", line] as const)
  out.text(
    facts(
      [
        ["name", volume.name],
        ["state", shade(stateWorth(volume.state), STATES[volume.state])],
        ["path", volume.path],
        ...lostPaths.map(({ path, fate }) => [shade("bad", "warning"), FATES[fate](path)] as const),
        ...silentPaths.map((path) => [shade("bad", "warning"), hangs(path)] as const),
        ["export", EXPORTS[volume.export]],
        ["uri", volume.uri],
        ...(volume.device === null ? [] : [["device", volume.device] as const]),
        ["uuid", volume.uuid],
        ...(volume.label === "" ? [] : [["label", volume.label] as const]),
        [
          "size",
          `${describeSize(volume, untold)}${volume.readonly ? ", read-only" : ""}${volume.discards ? ", TRIM passed on" : ""}`,
        ],
        [
          "cipher",
          `${volume.cipher}, ${volume.keySize * 8}-bit key, ${volume.sectorSize}-byte sectors, ${enclave.aes}`,
        ],
        ["keyslot", volume.keyslot === null ? "none open" : String(volume.keyslot)],
        ["header", describeHeader(volume)],
        ...(volume.reencryption === null ? [] : [describeReencryption(volume.name, volume.reencryption)]),
        ["process", `${volume.pid}, since ${volume.since}`],
        ["backend", `${enclave.backend}${enclave.debug ? " (debug)" : ""}`],
        ...(volume.transitionCycles > 0
          ? [["modelled", `${volume.transitionCycles} cycles per entry and exit, as SGX would cost`] as const]
          : []),
        ["enclave", enclave.mrenclave],
        ["signer", `${enclave.mrsigner}, ${signerWords(enclave.mrsigner)}`],
        ["keys in", inMemory(enclave.memory.keys)],
        ["registers in", inMemory(enclave.memory.stacks)],
        ["heap in", inMemory(enclave.memory.heap)],
        ...listed("protected", safe.protected, "good"),
        ...listed("not protected", safe.exposed, "fair"),
        ...(machineSecret === null ? [] : [["machine secret", machineSecret.words] as const]),
        ...judgements(volume).map(
          ({ name, verdict, found, means }) => [shade(VERDICTS[verdict], name), `${found}: ${means}`] as const,
        ),
        ...(volume.disk === null ? [] : [["disk", describeDisk(volume.disk)] as const]),
        ...(volume.server === null ? [] : [describeServer(volume.server)]),
        ...(volume.lease === null ? [] : [describeLease(volume.lease)]),
        [
          "counters",
          Object.entries(volume.counters)
            .map(([key, value]) => `${key} ${value}`)
            .join(", ") || "none",
        ],
      ],
      out.columns,
    ),
  )
}

/** What a seal of policy mrsigner would trust. */
function signerWords(mrsigner: string): string {
  const holder = releaseSigners().get(mrsigner)
  return holder === undefined ? "no release key" : `release key of ${holder}`
}

function describeDisk(disk: NonNullable<VolumeStatus["disk"]>) {
  const { engine, refusal, underWay, deepest, bound, stranded, failed, threads } = disk
  const how = engine === "threads" && refusal !== null ? `threads: this kernel refuses io_uring (${refusal})` : engine
  const beside = threads === 0 ? "" : `, ${threads} I/O threads`
  const lost = stranded === 0 ? "" : `, ${stranded} never answered by the device`
  const ended =
    failed === null
      ? ""
      : `; a flush failed (${failed}): what was written before it may be lost, and nothing is written any more; ` +
        "close the volume, open it again and check the filesystem"
  return `${how}${beside}, ${underWay} requests under way, at most ${deepest} so far, ${bound} at once${lost}${ended}`
}

const SERVER: Readonly<Record<NonNullable<VolumeStatus["server"]>["state"], readonly [Worth, string]>> = {
  connected: ["good", "connected"],
  waiting: ["fair", "away: requests wait for it"],
  failing: [
    "bad",
    "away: requests end in errors until it is back; look at it, and whether its storage is down or full",
  ],
  ended: ["bad", "used no more: close the volume and open it again"],
}

const because = (reason: string | null): string => (reason === null ? "" : ` (${reason})`)

function describeServer({ state, reason }: NonNullable<VolumeStatus["server"]>): readonly [string, string] {
  const [worth, words] = SERVER[state]
  return [shade(worth, "NBD server"), `${words}${because(reason)}`]
}

function describeLease(lease: NonNullable<VolumeStatus["lease"]>): readonly [string, string] {
  const { name, owner, state, seconds, reason } = lease
  const why = because(reason)
  const [worth, words]: readonly [Worth, string] = {
    held: [
      "good",
      `held as ${owner}, ${seconds} s left unless renewed${why && `; the last renewal failed${why}`}`,
    ] as const,
    late: ["fair", `late${why}: requests wait for its renewal`] as const,
    expired: ["bad", `late${why}: requests end in errors until it is renewed; look at the store`] as const,
    lost: ["bad", `lost${why}`] as const,
  }[state]
  return [shade(worth, "lease"), `${name}: ${words}`]
}

const PASS: Readonly<Record<NonNullable<VolumeStatus["reencryption"]>["state"], readonly [Worth, string]>> = {
  paused: ["fair", "paused"],
  running: ["good", "running"],
  stopped: ["bad", "stopped"],
}

function describeReencryption(
  name: string,
  { state, done, total, error }: NonNullable<VolumeStatus["reencryption"]>,
): readonly [string, string] {
  const [worth, words] = PASS[state]
  const way = state === "running" ? "" : `; \`tresor reencrypt --resume ${name}\` goes on`
  return [
    shade(worth, "reencryption"),
    `${words}${because(error)}, ${formatSize(done)} of ${formatSize(total)} under the new key${way}`,
  ]
}

function describeHeader(volume: VolumeStatus): string {
  if (volume.header === null) return "not authenticated: no Tresor token, or not unlocked yet"
  const { slotsChanged, slotsAdded, slotsRemoved } = volume.header
  const parts = [
    ["changed", slotsChanged],
    ["added", slotsAdded],
    ["removed", slotsRemoved],
  ] as const
  const found = parts
    .filter(([, slots]) => slots.length > 0)
    .map(([word, slots]) => `keyslot ${slots.join(", ")} ${word}`)
  return found.length === 0
    ? "authenticated"
    : `authenticated; by others: ${found.join("; ")} (\`tresor header authenticate\` accepts it)`
}

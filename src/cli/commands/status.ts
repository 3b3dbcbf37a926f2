import type { VolumeStatus } from "../../control/volume.ts"
import { out } from "../../output/output.ts"
import { connectVolume } from "../daemon.ts"
import { protection } from "../messages.ts"
import { formatSize } from "../options.ts"
import { summary } from "../summary.ts"
import { facts } from "../table.ts"

const STATES: Readonly<Record<VolumeStatus["state"], string>> = {
  locked: "locked: no keys are held, I/O waits for `tresor setkey`",
  unlocked: "unlocked",
  failed: "failed: no key came in time, I/O ends in errors until `tresor setkey`",
  closing: "closing: requests in flight are finished and flushed",
}

const KINDS: Readonly<Record<string, string>> = {
  EPC: "the processor's enclave page cache",
  memfd_secret: "memfd_secret(2): out of reach for root's ptrace, /proc/PID/mem, core dumps and swap",
  mlock: "locked and undumpable memory: never swapped, but root's ptrace reads it",
  plain: "ordinary memory: nothing protects it",
}

export async function status(name: string, options: { readonly json?: true }): Promise<void> {
  using client = await connectVolume(name)
  const volume = await client.status()
  if (options.json === true) {
    const { publicKey, xfrm, ...enclave } = volume.enclave
    const printable = { ...enclave, publicKey: Buffer.from(publicKey).toString("hex"), xfrm: `0x${xfrm.toString(16)}` }
    const safe = protection(volume.enclave.backend, volume.enclave.memory)
    out.json({ ...summary(volume), ...volume, enclave: printable, backend: enclave.backend, ...safe })
    return
  }
  const { enclave } = volume
  const safe = protection(enclave.backend, enclave.memory)
  const listed = (title: string, lines: readonly string[]) =>
    lines.map((line, i) => [i === 0 ? title : "", line] as const)
  out.text(
    facts(
      [
        ["name", volume.name],
        ["state", STATES[volume.state]],
        ["path", volume.path],
        ["uri", volume.uri],
        ["uuid", volume.uuid],
        ...(volume.label === "" ? [] : [["label", volume.label] as const]),
        [
          "size",
          `${formatSize(volume.size)}${volume.readonly ? ", read-only" : ""}${volume.discards ? ", TRIM passed on" : ""}`,
        ],
        [
          "cipher",
          `${volume.cipher}, ${volume.keySize * 8}-bit key, ${volume.sectorSize}-byte sectors, ${enclave.aes}`,
        ],
        ["keyslot", volume.keyslot === null ? "none open" : String(volume.keyslot)],
        ["header", describeHeader(volume)],
        ["process", `${volume.pid}, since ${volume.since}`],
        ["backend", `${enclave.backend}${enclave.debug ? " (debug)" : ""}`],
        ...(volume.transitionCycles > 0
          ? [["modelled", `${volume.transitionCycles} cycles per entry and exit, as SGX would cost`] as const]
          : []),
        ["enclave", enclave.mrenclave],
        ["signer", enclave.mrsigner],
        ["keys in", KINDS[enclave.memory.keys] ?? enclave.memory.keys],
        ["KDF memory in", KINDS[enclave.memory.heap] ?? enclave.memory.heap],
        ...listed("protected", safe.protected),
        ...listed("not protected", safe.exposed),
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

/** `tresor check`: fsck for a header. */
import { Exit } from "../../errors.ts"
import { readCopies } from "../../luks2/copies.ts"
import { examine, type Finding } from "../../luks2/examine.ts"
import { HeaderStore } from "../../luks2/header-store.ts"
import { tampering } from "../../luks2/tampering.ts"
import { err, out } from "../../output/output.ts"
import { mark } from "../../output/state.ts"
import { openHeaderDevice } from "../../store/header-device.ts"

export interface CheckOptions {
  readonly header?: string
  readonly repair?: true
  readonly batchMode?: true
  readonly json?: true
}

const NAMES = { primary: "first", secondary: "second" } as const

/** Exit 0: sound, or made so; 4: damage is left. A header of which nothing can be read is an error. */
export async function check(path: string, options: CheckOptions): Promise<void> {
  const target = options.header ?? path
  const device = await openHeaderDevice(target, { readOnly: options.repair !== true })
  try {
    const look = async () => {
      const found = await device.locked("shared", () => readCopies(device))
      const tampered = tampering(found.header.metadata) !== null
      return { stale: found.stale, tampered, findings: examine(found, await device.size()) }
    }
    const before = await look()
    // The newer copy is the one that was tampered with: nothing is written over the older one.
    const repaired =
      options.repair === true && !before.tampered ? await (await HeaderStore.attach(device)).repair() : []
    const { stale, tampered, findings } = repaired.length === 0 ? before : await look()
    const damaged = findings.some(({ kind }) => kind === "damage")
    if (options.json === true) {
      out.json({ path: target, sound: !damaged, repaired, findings })
    } else {
      print(findings)
      for (const copy of repaired) out.line(`The ${NAMES[copy]} header was written anew from the other one.`)
      if (damaged) {
        const mends = stale.length > 0 && !tampered
        const way = mends ? "`tresor check --repair" : "no copy can mend it, a backup can: `tresor header restore"
        err.line(`Damage was found: ${way} ${target}${mends ? "" : " FILE"}\``)
      }
    }
    if (damaged) process.exitCode = Exit.wrongDevice
  } finally {
    await device.close()
  }
}

function print(findings: readonly Finding[]): void {
  const worth = { sound: "good", damage: "bad", remark: "fair" } as const
  for (const { kind, text } of findings) out.line(`${mark(worth[kind])} ${text}`)
}

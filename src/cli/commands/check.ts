/** `tresor check`: fsck for a header. */
import { Exit } from "../../base/errors.ts"
import { type FoundCopies, readCopies } from "../../header/copies.ts"
import { examine, type Finding } from "../../header/examine.ts"
import { HeaderStore } from "../../header/header-store.ts"
import { openForHeader } from "../../header/open.ts"
import type { Copy } from "../../luks2/binary-header.ts"
import { tampering } from "../../luks2/tampering.ts"
import { signatureOn } from "../../store/signature.ts"
import type { Store } from "../../store/store.ts"
import { confirm } from "../confirm.ts"
import { err, out } from "../output/output.ts"
import { mark } from "../output/state.ts"

export interface CheckOptions {
  readonly header?: string
  readonly repair?: true
  readonly batchMode?: true
  readonly json?: true
}

const NAMES = { primary: "first", secondary: "second" } as const

/**
 * Whether a copy can be rewritten. Not from one that was tampered with: the
 * older one may be the last as its owner wrote it. Not over another format.
 */
const mends = ({ found, other }: { readonly found: FoundCopies; readonly other: string | null }): boolean =>
  found.stale.length > 0 && other === null && tampering(found.header.metadata) === null

async function repair(
  device: Store,
  target: string,
  { stale, header }: FoundCopies,
  options: CheckOptions,
): Promise<readonly Copy[]> {
  if (options.batchMode !== true) {
    const names = stale.map((copy) => NAMES[copy]).join(" and ")
    await confirm(
      `This rewrites the ${names} header of ${target} from the other one ` +
        `(UUID ${header.uuid}, sequence id ${header.sequenceId}).`,
    )
  }
  return (await HeaderStore.open(device)).repair()
}

/** Exit 0: sound, or made so; 4: damage is left. A header of which nothing can be read is an error. */
export async function check(path: string, options: CheckOptions): Promise<void> {
  const target = options.header ?? path
  const device = await openForHeader(target, { readOnly: options.repair !== true })
  try {
    const look = async () => {
      const found = await device.locked("shared", () => readCopies(device))
      // Where both copies hold, whatever else lies there is below the data.
      const other = found.stale.length === 0 ? null : await signatureOn(device, { luks: false })
      return { found, other, findings: examine(found, device.size, other, options.header !== undefined) }
    }
    const before = await look()
    const repaired = options.repair === true && mends(before) ? await repair(device, target, before.found, options) : []
    const after = repaired.length === 0 ? before : await look()
    const { findings } = after
    const damaged = findings.some(({ kind }) => kind === "damage")
    if (options.json === true) {
      out.json({ path: target, sound: !damaged, repaired, findings })
    } else {
      print(findings)
      for (const copy of repaired) out.line(`The ${NAMES[copy]} header was rewritten from the other one.`)
      if (damaged) {
        const mendable = mends(after)
        const way = mendable ? "`tresor check --repair" : "no copy can mend it, a backup can: `tresor header restore"
        err.line(`Damage was found: ${way} ${target}${mendable ? "" : " FILE"}\``)
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

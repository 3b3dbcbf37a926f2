/** `tresor check`: fsck for a header. */
import { Exit } from "../../errors.ts"
import { readCopies } from "../../luks2/copies.ts"
import { examine, type Finding } from "../../luks2/examine.ts"
import { HeaderStore } from "../../luks2/header-store.ts"
import { openHeaderDevice } from "../../store/header-device.ts"
import { styles } from "../table.ts"

export interface CheckOptions {
  readonly header?: string
  readonly repair?: true
  readonly json?: true
}

const NAMES = { primary: "first", secondary: "second" } as const

/** Exit 0: sound, or made so; 4: damage is left. A header of which nothing can be read is an error. */
export async function check(path: string, options: CheckOptions): Promise<void> {
  const target = options.header ?? path
  const device = await openHeaderDevice(target, { readOnly: options.repair !== true })
  try {
    const look = async () => examine(await device.locked("shared", () => readCopies(device)), await device.size())
    const before = await look()
    const repaired = options.repair === true ? await (await HeaderStore.attach(device)).repair() : []
    const findings = repaired.length === 0 ? before : await look()
    const damaged = findings.some(({ kind }) => kind === "damage")
    if (options.json === true) {
      process.stdout.write(`${JSON.stringify({ path: target, sound: !damaged, repaired, findings })}\n`)
    } else {
      print(findings)
      for (const copy of repaired)
        process.stdout.write(`The ${NAMES[copy]} header was written anew from the other one.\n`)
      if (damaged && options.repair !== true)
        process.stderr.write(`Damage was found: \`tresor check --repair ${target}\`\n`)
    }
    if (damaged) process.exitCode = Exit.wrongDevice
  } finally {
    await device.close()
  }
}

function print(findings: readonly Finding[]): void {
  const { green, red, yellow } = styles(process.stdout)
  const marks = { sound: green("✔"), damage: red("✖"), remark: yellow("•") }
  for (const { kind, text } of findings) process.stdout.write(`${marks[kind]} ${text}\n`)
}

/** docs/api.md: its examples do what they say, and it names every name there is. */
import assert from "node:assert/strict"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { pathToFileURL } from "node:url"
import { Place, root, run } from "../cli/harness.ts"
import { API, examples } from "./examples.ts"

const ENTRIES = {
  tresor: "src/index.ts",
  "tresor/luks2": "src/luks2/index.ts",
  "tresor/attest": "src/attest/judge/index.ts",
  "tresor/nbd": "src/nbd/index.ts",
}

test("every name of every entry is in its section, and no other", async () => {
  for (const [entry, file] of Object.entries(ENTRIES)) {
    const names = Object.keys(await import(pathToFileURL(join(root, file)).href))
    const section = new RegExp(`^## ${entry}\n([\\s\\S]*?)(?=^## |(?![\\s\\S]))`, "m").exec(API)![1]!
    const code = section.replace(/^```[\s\S]*?^```$/gm, "")
    const missing = names.filter((name) => !code.includes(`\`${name}\``))
    assert.deepEqual(missing, [], entry)
    const imported = [...section.matchAll(new RegExp(`^import \\{ ([^}]*) \\} from "${entry}"`, "gm"))]
    for (const name of imported.flatMap(([, list]) => list!.split(", "))) assert.ok(names.includes(name), name)
  }
})

test("every example prints what it should", async (t) => {
  const place = new Place()
  const source = (entry: string) => pathToFileURL(join(root, ENTRIES[entry as keyof typeof ENTRIES])).href
  for (const [index, { program, prints }] of examples().entries()) {
    const file = place.path(`example-${index}.mts`)
    writeFileSync(
      file,
      program.replace(/from "(tresor[^"]*)"/g, (_, entry) => `from "${source(entry)}"`),
    )
    const { code, stdout, stderr } = await run(process.execPath, [file], { cwd: place.folder, env: place.env })
    assert.equal(code, 0, `${program}\n${stderr}`)
    assert.match(stdout, prints)
    t.diagnostic(`example ${index}: ${stdout.trim().split("\n").length} lines`)
  }
  assert.ok(!existsSync(place.path("none.img")))
  const dump = await run("cryptsetup", ["luksDump", "disk.img"], { cwd: place.folder })
  assert.equal(dump.code, 0, dump.stderr)
  // Of the new volume key: the new recovery keyslot and the passphrase's. The backup is one of cryptsetup's own.
  assert.deepEqual(
    [...dump.stdout.matchAll(/^ {2}(\d+): luks2$/gm)].map(([, slot]) => slot),
    ["2", "4"],
  )
  const backup = await run(
    "cryptsetup",
    ["luksHeaderRestore", "-q", "disk.img", "--header-backup-file", "disk.header"],
    {
      cwd: place.folder,
    },
  )
  assert.equal(backup.code, 0, backup.stderr)
})

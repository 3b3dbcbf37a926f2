/**
 * `tresor reencrypt` beside `cryptsetup reencrypt` on copies of one file, in turn.
 *
 *   node_modules/.bin/node bench/reencrypt.ts [MIB]
 */
import { execFileSync } from "node:child_process"
import { randomFillSync } from "node:crypto"
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const ROUNDS = 3
const mib = Number(process.argv[2] ?? 512)
const tresor = fileURLToPath(new URL("../tresor", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "tresor-bench-"))
const at = (name: string) => join(folder, name)
const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
const env = { ...process.env, TRESOR_STATE_DIR: at("state"), XDG_CONFIG_HOME: folder }

function run(command: string, ...args: readonly string[]): number {
  const began = performance.now()
  execFileSync(command, args, { env, stdio: ["ignore", "ignore", "inherit"] })
  return (performance.now() - began) / 1000
}

function noise(path: string): void {
  const fd = openSync(path, "w")
  const piece = new Uint8Array(1 << 20)
  for (let n = 0; n < mib; n++) writeSync(fd, randomFillSync(piece))
  fsyncSync(fd)
  closeSync(fd)
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!

process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
writeFileSync(at("key"), "a passphrase")
for (const sector of [4096, 512]) {
  noise(at("volume"))
  run("cryptsetup", "luksFormat", "-q", ...KDF, "--sector-size", String(sector), "--key-file", at("key"), at("volume"))
  const times = { tresor: [] as number[], cryptsetup: [] as number[], copy: [] as number[] }
  for (let round = 0; round < ROUNDS; round++) {
    const fresh = () => {
      run("cp", at("volume"), at("copy"))
      run("sync", at("copy"))
    }
    fresh()
    times.tresor.push(run(tresor, "reencrypt", "-q", ...KDF, "--key-file", at("key"), at("copy")))
    fresh()
    const offline = ["reencrypt", "-q", "--force-offline-reencrypt", ...KDF, "--key-file", at("key"), at("copy")]
    times.cryptsetup.push(run("cryptsetup", ...offline))
    times.copy.push(run("dd", `if=${at("volume")}`, `of=${at("copy")}`, "bs=1M", "conv=fsync,notrunc", "status=none"))
  }
  const [ours, theirs, copy] = [times.tresor, times.cryptsetup, times.copy].map((each) => median(each).toFixed(1))
  console.log(`| ${sector} | ${ours} | ${theirs} | ${copy} |`)
}

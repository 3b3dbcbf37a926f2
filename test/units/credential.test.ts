/** units/examples/machine-secret.conf: systemd unseals the machine secret, as a credential of tresor@.service. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, test } from "node:test"
import { alive, Place, root, run, until } from "../cli/harness.ts"
import { Swtpm } from "../tpm/swtpm.ts"

const place = new Place()
const tpm = new Swtpm(place.folder)
after(() => tpm.stop())

const dropIn = readFileSync(join(root, "units/examples/machine-secret.conf"), "utf8")
const unit = join(root, "units/tresor@.service")
const [, name = "", stored = ""] = /^LoadCredentialEncrypted=([^:]+):(.*)$/m.exec(dropIn) ?? []

/** As systemd has it for the service: a read-only directory, 0500, with the credential, 0400. */
async function credentials(): Promise<string> {
  const device = `--tpm2-device=${tpm.env["TRESOR_TPM2_TCTI"]}`
  const [, command = ""] = /^# {3}(systemd-creds [^#]*\\\n# +.*)$/m.exec(dropIn) ?? []
  const places: Readonly<Record<string, string>> = {
    "/var/lib/tresor/machine-secret": place.path("state/machine-secret"),
    [stored]: place.path("credential"),
    // This machine's own key is left alone.
    "--with-key=host+tpm2": "--with-key=tpm2",
  }
  const [program = "", verb = "", ...words] = command
    .replaceAll(/\\\n# +/g, "")
    .split(/\s+/)
    .map((word) => places[word] ?? word)
  const encrypted = await run(program, [verb, device, ...words])
  assert.equal(encrypted.code, 0, encrypted.stderr)
  tpm.tool("getcap", ["properties-fixed"])
  const folder = place.path("credentials")
  mkdirSync(folder)
  const clear = join(folder, name)
  const decrypted = await run(program, ["decrypt", device, `--name=${name}`, place.path("credential"), clear])
  assert.equal(decrypted.code, 0, decrypted.stderr)
  assert.deepEqual(readFileSync(clear), readFileSync(place.path("state/machine-secret")))
  assert.equal(readFileSync(place.path("credential")).includes(readFileSync(clear)), false)
  chmodSync(clear, 0o400)
  chmodSync(folder, 0o500)
  return folder
}

/** A tresord of the unit. Returns when it serves. */
async function serve(path: string, state: string): Promise<ChildProcess> {
  const readOnly = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
  const tresord = [join(root, "test/units/confined.py"), unit, join(root, "dist/tresord"), "--", path, "unit"]
  const words = ["--mount", "sh", "-c", readOnly, state, "/usr/bin/python3", ...tresord]
  const env = { ...process.env, ...place.env, TRESOR_STATE_DIR: state }
  const child = spawn("unshare", words, { env, stdio: ["ignore", "pipe", "pipe"] })
  let log = ""
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (log += text))
  await until("it is ready", () => !alive(child.pid!) || log.includes('"message":"ready"'), 60_000)
  assert.ok(alive(child.pid!), log)
  return child
}

async function unlock(path: string, keyFile: string, state: string) {
  const child = await serve(path, state)
  const exited = once(child, "exit")
  const { code, stderr } = await place.tresor(["setkey", "unit", "--key-file", keyFile])
  child.kill("SIGTERM")
  assert.deepEqual(await exited, [0, null])
  return { code, stderr }
}

test("a tresord of the unit opens a volume with the machine secret that systemd-creds sealed and unsealed", async () => {
  const { path, keyFile } = await place.volume("disk.img")
  assert.match(dropIn, /^Environment=TRESOR_STATE_DIR=%d$/m)
  const opened = await unlock(path, keyFile, await credentials())
  assert.equal(opened.code, 0, opened.stderr)
  mkdirSync(place.path("other"), { mode: 0o700 })
  const without = await place.tresor(["open", path, "unit", "--key-file", keyFile], {
    env: { TRESOR_STATE_DIR: place.path("other") },
  })
  assert.match(without.stderr, /sealed with the machine secret/)
})

test("systemd reads the drop-in without a complaint", async () => {
  const units = place.path("units")
  mkdirSync(join(units, "tresor@unit.service.d"), { recursive: true })
  cpSync(unit, join(units, "tresor@.service"))
  cpSync(join(root, "units/examples/machine-secret.conf"), join(units, "tresor@unit.service.d/machine-secret.conf"))
  const verify = () => run("systemd-analyze", ["verify", "--man=no", join(units, "tresor@unit.service")])
  assert.doesNotMatch((await verify()).stderr, /machine-secret\.conf/)
  const misspelt = dropIn.replace("LoadCredentialEncrypted=", "LoadCredentialEncryptd=")
  writeFileSync(join(units, "tresor@unit.service.d/machine-secret.conf"), misspelt)
  assert.match((await verify()).stderr, /machine-secret\.conf:\d+: Unknown key/)
})

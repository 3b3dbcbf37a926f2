/** Volumes that other programs unlock by themselves, by Clevis and Tang or systemd: what Tresor does leaves them able to. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, truncateSync } from "node:fs"
import { createServer } from "node:net"
import { after, before, test } from "node:test"
import { Place, type Result, run, until } from "../cli/harness.ts"

const place = new Place()
const FAST = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]

async function succeeds(promise: Promise<Result>): Promise<string> {
  const { code, stdout, stderr } = await promise
  assert.equal(code, 0, stderr + stdout)
  return stdout
}
const tresor = (...words: readonly string[]) => succeeds(place.tresor(words))
const theirs = (command: string, ...words: readonly string[]) => succeeds(run(command, words))

let url = ""
let server: ChildProcess | null = null
after(() => server?.kill())

before(async () => {
  const keys = place.path("tang")
  mkdirSync(keys)
  const probe = createServer().listen(0, "127.0.0.1")
  await once(probe, "listening")
  const { port } = probe.address() as { readonly port: number }
  await new Promise((resolve) => probe.close(resolve))
  await theirs("/usr/libexec/tangd-keygen", keys)
  const listen = [`TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr`, `SYSTEM:/usr/libexec/tangd ${keys}`]
  server = spawn("socat", listen, { stdio: "ignore" })
  url = `http://127.0.0.1:${port}`
  await until("tang serves", async () => (await run("curl", ["-sf", `${url}/adv`])).code === 0, 60_000)
})

/** As systemd-cryptenroll writes it for a TPM; its keyslot's passphrase is what the TPM would unseal. */
const TPM2 = {
  type: "systemd-tpm2",
  keyslots: ["2"],
  "tpm2-blob": Buffer.alloc(300, 7).toString("base64"),
  "tpm2-pcrs": [7],
  "tpm2-pcr-bank": "sha256",
  "tpm2-primary-alg": "ecc",
  "tpm2-policy-hash": "ab".repeat(32),
  "tpm2-pin": false,
}

interface Volume {
  readonly path: string
  readonly key: string
  readonly tpm: string
}

/** cryptsetup's keyslot 0 for a person, 1 for Clevis, 2 for systemd; tokens 0 and 1. */
async function enrolled(name: string): Promise<Volume> {
  const path = place.file(name, "")
  truncateSync(path, 32 << 20)
  const key = place.file(`${name}.key`, "theirs")
  const tpm = place.file(`${name}.tpm`, Buffer.alloc(32, 9).toString("base64"))
  await theirs("cryptsetup", "luksFormat", "-q", "--type", "luks2", ...FAST, path, key)
  await theirs("clevis", "luks", "bind", "-y", "-k", key, "-d", path, "tang", JSON.stringify({ url }))
  await theirs("cryptsetup", "luksAddKey", "-q", "--key-file", key, ...FAST, path, tpm)
  const token = place.file(`${name}.json`, JSON.stringify(TPM2))
  await theirs("cryptsetup", "token", "import", "--json-file", token, path)
  return { path, key, tpm }
}

/** The token as cryptsetup prints it. */
const token = (path: string, id: number) => theirs("cryptsetup", "token", "export", "--token-id", String(id), path)

/** Tang's answer opens the volume for cryptsetup. */
async function clevisOpens(path: string, slot: number): Promise<void> {
  const secret = place.file("clevis.secret", await theirs("clevis", "luks", "pass", "-d", path, "-s", String(slot)))
  await theirs("cryptsetup", "open", "--test-passphrase", "--key-slot", String(slot), "--key-file", secret, path)
}

test("adopt, open, key add, change and remove, and release leave Clevis' and systemd's keyslots and tokens as they are", async () => {
  const { path, key, tpm } = await enrolled("adopted.img")
  const tokens = [await token(path, 0), await token(path, 1)]
  const unchanged = async () => {
    assert.deepEqual([await token(path, 0), await token(path, 1)], tokens)
    await clevisOpens(path, 1)
    await theirs("cryptsetup", "open", "--test-passphrase", "--key-slot", "2", "--key-file", tpm, path)
    assert.match(await theirs("systemd-cryptenroll", path), /2 tpm2/)
  }
  await unchanged()
  const ours = place.file("ours", "ours")
  await tresor("adopt", path, "--key-file", key, "--new-key-file", ours, "--no-recovery", ...FAST)
  await unchanged()
  await tresor("open", path, "work", "--key-file", ours)
  await unchanged()
  await tresor("close", "work")
  const more = place.file("more", "more")
  await tresor(
    "key",
    "add",
    path,
    "--portable",
    "--key-file",
    ours,
    "--new-key-file",
    more,
    "--new-key-slot",
    "9",
    ...FAST,
  )
  await tresor("key", "change", path, "--key-file", ours, "--new-key-file", place.file("changed", "changed"), ...FAST)
  await tresor("key", "remove", path, "--key-slot", "9", "--key-file", place.path("changed"))
  await unchanged()
  await tresor("release", path, "--key-file", key)
  await unchanged()
})

test("a keyslot that is removed by its number leaves the token without one, as cryptsetup does", async () => {
  const { path, key } = await enrolled("removed.img")
  await tresor("adopt", path, "--key-file", key, "--new-key-file", place.file("ours", "ours"), "--no-recovery", ...FAST)
  await tresor("key", "remove", path, "--key-slot", "2", "--key-file", place.path("ours"))
  assert.deepEqual(JSON.parse(await token(path, 1)), { ...TPM2, keyslots: [] })
  await clevisOpens(path, 1)
})

test("reencrypt carries Clevis' passphrase when it is given, and its token is stored again for the new keyslot", async () => {
  const { path, key } = await enrolled("moved.img")
  const before = JSON.parse(await token(path, 0)) as Record<string, unknown>
  const carried = place.file("carried", await theirs("clevis", "luks", "pass", "-d", path, "-s", "1"))
  await tresor("reencrypt", path, "-q", "--key-file", key, "--carry-key-file", carried, "--no-recovery", ...FAST)
  // Keyslots of the old key are gone, and their tokens name none.
  assert.deepEqual(JSON.parse(await token(path, 0)), { ...before, keyslots: [] })
  assert.deepEqual(JSON.parse(await token(path, 1)), { ...TPM2, keyslots: [] })
  const open = ["open", "--test-passphrase", "-v", "--key-file", carried, path]
  const [, slot] = /slot (\d+) unlocked/.exec(await theirs("cryptsetup", ...open))!
  const again = place.file("again.json", JSON.stringify({ ...before, keyslots: [slot] }))
  await tresor("token", "import", path, "--token-id", "0", "--token-replace", "--json-file", again)
  await clevisOpens(path, Number(slot))
})

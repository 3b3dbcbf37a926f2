/** `tresor machine`: a person seals the machine secret to a TPM, opens volumes with it, and gets it back. */
import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { Swtpm } from "../tpm/swtpm.ts"
import { Place, type Result, root, run, until } from "./harness.ts"

const place = new Place()
const tpm = new Swtpm(place.folder)
Object.assign(place.env, tpm.env)
after(() => tpm.stop())

const PIN = "Enter PIN of this machine's TPM for Tresor"
const NEW_PIN = "Enter new PIN of this machine's TPM for Tresor"
const sealed = join(place.path("state"), "machine-secret.tpm2")
const volume = { path: place.path("disk.img"), keyFile: place.file("key", "correct horse") }
const volumesKey = place.path("volume.recovery")
const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
let machinesKey: string

before(async () => {
  const words = ["--size", "32M", "--key-file", volume.keyFile, "--recovery-key-file", volumesKey, ...KDF]
  const made = await place.tresor(["create", volume.path, ...words])
  assert.equal(made.code, 0, made.stderr)
})

async function status(): Promise<
  Record<string, unknown> & { readonly tpm2: { readonly pin: boolean; readonly unlocked: boolean } }
> {
  const { code, stdout, stderr } = await place.tresor(["machine", "status", "--json"])
  assert.equal(code, 0, stderr)
  const validate = `import json, sys, jsonschema
jsonschema.validate(json.load(sys.stdin), json.load(open(sys.argv[1])))`
  const valid = await run("/usr/bin/python3", ["-c", validate, join(root, "docs/schemas/machine.json")], {
    input: stdout,
  })
  assert.equal(valid.code, 0, `${stdout}\n${valid.stderr}`)
  return JSON.parse(stdout)
}

async function opens(key = volume.keyFile): Promise<Result> {
  const opened = await place.tresor(["open", volume.path, "work", "--key-file", key])
  if (opened.code === 0) assert.equal((await place.tresor(["close", "work"])).code, 0)
  return opened
}

test("enroll asks for a PIN twice, shows the recovery key on the terminal, and says what it does not protect", async () => {
  assert.equal((await status())["kept"], "file")
  const without = await place.tresor(["machine", "enroll", "--pcrs", "7"])
  assert.deepEqual([without.code, /--tpm2/.test(without.stderr)], [1, true], without.stderr)
  const differ = await place.typed(
    ["machine", "enroll", "--tpm2", "--pin"],
    [
      [NEW_PIN, "1234\n"],
      ["Verify PIN", "4321\n"],
    ],
  )
  assert.equal(differ.code, 2)
  assert.equal((await status())["kept"], "file")
  const { code, stdout } = await place.typed(
    ["machine", "enroll", "--tpm2", "--pin"],
    [
      [NEW_PIN, "1234\n"],
      ["Verify PIN", "1234\n"],
    ],
  )
  assert.equal(code, 0, stdout)
  machinesKey = /(?:[b-v]{8}-){7}[b-v]{8}/.exec(stdout)![0]
  assert.match(stdout, /machine-secret was overwritten and removed; a copy of its blocks may remain on an SSD/)
  assert.match(stdout, /measures nothing into PCR 7/)
  assert.match(stdout, /Not protected: the PIN, .* who resets the TPM's count/)
  tpm.tool("changeauth", ["-c", "lockout", "owner"])
  assert.deepEqual((await status())["exposed"], [])
  assert.ok(existsSync(sealed) && !existsSync(join(place.path("state"), "machine-secret")))
  const { kept, id, tpm2, opens: now } = await status()
  assert.deepEqual([kept, tpm2.pin, tpm2.unlocked, now], ["tpm2", true, true, true])
  assert.match(String(id), /^[0-9a-f]{16}$/)
  assert.equal((await opens()).code, 0, "who set the PIN is not asked again")
})

test("open asks for the PIN once, again after a wrong one, and then for the passphrase; later for the passphrase alone", async () => {
  assert.equal((await place.tresor(["machine", "lock"])).code, 0)
  assert.equal((await status()).tpm2.unlocked, false)
  const unasked = await opens()
  assert.equal(unasked.code, 2)
  assert.match(unasked.stderr, /Cannot unseal keyslot 0|keyslot 0 cannot be unsealed/)
  assert.match(
    unasked.stderr,
    /the TPM unseals it for its PIN only; `tresor machine unlock` asks for it; then close the volume/,
  )
  const opened = await place.typed(
    ["open", volume.path, "work"],
    [
      [PIN, "0000\n"],
      ["counts 1 of 3", ""],
      [PIN, "1234\n"],
      ["Enter passphrase for", "correct horse\n"],
    ],
  )
  assert.equal(opened.code, 0, opened.stdout)
  const { stdout } = await place.tresor(["status", "work"])
  assert.match(
    stdout,
    /machine secret: +.*machine-secret\.tpm2.*sealed to the TPM with a PIN: of no use without this machine/,
  )
  assert.match(stdout, /it takes the PIN too, whose wrong attempts the TPM counts/)
  await place.tresor(["close", "work"])
  assert.equal((await opens()).code, 0)
})

test("what makes keyslots stops without the PIN, and the volume's recovery key opens it all the same", async () => {
  await place.tresor(["machine", "lock"])
  const fresh = place.file("fresh", "another")
  const fresher = ["--new-key-file", fresh, ...KDF]
  const added = await place.tresor(["key", "add", volume.path, "--key-file", volumesKey, ...fresher])
  assert.equal(added.code, 2)
  assert.match(added.stderr, /`tresor machine unlock` asks for it\n$/)
  assert.equal((await opens(volumesKey)).code, 0)
  const pin = place.file("pin", "1234")
  const refusing = [join(root, "test/units/refusing.py"), "add_key", "EPERM", join(root, "tresor")]
  const refused = await run("/usr/bin/python3", [...refusing, "machine", "unlock", "--pin-file", pin], {
    env: place.env,
  })
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /in the kernel's keyring \(EPERM\): add_key\(2\) is refused/)
  // As a service of systemd: its session's keyring has no link to the user's.
  const service = "import ctypes, os, sys; ctypes.CDLL(None).syscall(250, 1, None); os.execv(sys.argv[1], sys.argv[1:])"
  const words = [join(root, "tresor"), "machine", "unlock", "--pin-file", pin]
  const unlocked = await run("python3", ["-c", service, ...words], { env: place.env })
  assert.equal(unlocked.code, 0, unlocked.stderr)
  assert.equal((await status()).tpm2.unlocked, true)
  assert.equal((await place.tresor(["key", "add", volume.path, "--key-file", volumesKey, ...fresher])).code, 0)
  assert.equal((await opens(fresh)).code, 0)
})

test("when firmware changed a PCR, open says which, and the machine's recovery key brings every passphrase back", async () => {
  await place.tresor(["machine", "lock"])
  tpm.extend(7)
  const { tpm2, opens: now, refusal } = await status()
  assert.deepEqual([now, (refusal as { code: string }).code, tpm2.unlocked], [false, "TPM_PCRS", false])
  const refused = await place.typed(
    ["open", volume.path, "work"],
    [
      [PIN, "1234\n"],
      ["WARNING! The TPM refuses: PCR 7 (Secure Boot's state and keys) changed", ""],
      ["Enter passphrase for", "correct horse\n"],
    ],
  )
  assert.equal(refused.code, 2, refused.stdout)
  assert.match(refused.stdout, /`tresor machine recover`/)
  assert.equal((await opens(volumesKey)).code, 0)
  const slip = place.file("slip", machinesKey.replace(/^./, "a"))
  assert.equal((await place.tresor(["machine", "recover", "--recovery-key-file", slip, "--no-pin"])).code, 2)
  const recovered = await place.typed(
    ["machine", "recover"],
    [
      ["Enter recovery key of this machine's secret", `${machinesKey.toUpperCase().replaceAll("-", " ")}\n`],
      [NEW_PIN, "5678\n"],
      ["Verify PIN", "5678\n"],
    ],
  )
  assert.equal(recovered.code, 0, recovered.stdout)
  assert.equal((await opens()).code, 0)
  assert.equal((await status()).tpm2.pin, true)
})

test("unlock asks systemd's password agents for the PIN, as tresor-machine.service does, again after a wrong one", async () => {
  await place.tresor(["machine", "lock"])
  const unlocking = place.tresor(["machine", "unlock", "--password-agent"])
  for (const pin of ["1234", "5678"]) {
    let question = ""
    await until(
      "it asks",
      async () => {
        const words = ["-ls", "^Message=Enter PIN of this machine's TPM for Tresor$", "-r", "/run/systemd/ask-password"]
        question = (await run("grep", words)).stdout.split("\n")[0]!
        return question !== ""
      },
      60_000,
    )
    const [, socket = ""] = /^Socket=(.*)$/m.exec(readFileSync(question, "utf8")) ?? []
    assert.equal((await run("/lib/systemd/systemd-reply-password", ["1", socket], { input: pin })).code, 0)
    await until("the question is over", () => !existsSync(question), 60_000)
  }
  const { code, stderr } = await unlocking
  assert.equal(code, 0, stderr)
  assert.match(stderr, /^Wrong PIN: the TPM counts \d of 3 wrong attempts/)
  assert.equal((await status()).tpm2.unlocked, true)
})

test("reseal takes the PIN away and unenroll the TPM; doctor and status say what is left", async () => {
  const pin = place.file("pin", "5678")
  const resealed = await place.tresor(["machine", "reseal", "--no-pin", "--pcrs", "0+7", "--pin-file", pin])
  assert.equal(resealed.code, 0, resealed.stderr)
  assert.match(
    resealed.stderr,
    /Without a PIN, a thief of the whole machine can boot another system with the same PCRs/,
  )
  assert.deepEqual(Object.keys(JSON.parse(readFileSync(sealed, "utf8")).tpm2.pcrs), ["0", "7"])
  assert.equal((await opens()).code, 0)
  const doctor = JSON.parse((await place.tresor(["doctor", "--json"])).stdout).checks as {
    id: string
    found: string
    means: string
    remedy: string
  }[]
  const check = doctor.find(({ id }) => id === "machine-secret")!
  assert.match(check.found, /machine-secret\.tpm2/)
  assert.match(check.means, /who has all of it boots another system with the same PCRs and guesses on/)
  assert.match(check.remedy, /tresor machine reseal --pin/)
  assert.equal((await place.tresor(["machine", "unenroll"])).code, 0)
  assert.equal((await status())["kept"], "file")
  assert.equal((await opens()).code, 0)
  const again = await place.tresor(["machine", "reseal", "--pcrs", "7"])
  assert.match(again.stderr, /it is not sealed; `tresor machine enroll --tpm2` seals it/)
})

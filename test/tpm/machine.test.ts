/** The machine secret sealed to a TPM: swtpm, with tpm2-tools beside us. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { pbkdf2Sync, randomBytes } from "node:crypto"
import { once } from "node:events"
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import { takeMachineSecret } from "../../src/enclave/machine-secret.ts"
import { forgetSecret, idOf, needsPin, readSealed, sealedPath } from "../../src/enclave/sealed-secret.ts"
import { enroll, machineState, recover, reseal, type Step, unenroll, unlock } from "../../src/library/machine.ts"
import { Swtpm } from "./swtpm.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-tpm-"))
const tpm = new Swtpm(folder)
Object.assign(process.env, tpm.env)
after(() => {
  tpm.stop()
  rmSync(folder, { recursive: true })
})

const PIN = new TextEncoder().encode("correct 1234")
const NO_PIN = { pcrs: [7], pin: null }
const asked = (_: Uint8Array, work: (now: () => Promise<void>) => Promise<void>) => work(async () => {})

/** A state directory, with a secret in a file unless told. */
function place(secret: Buffer | null = randomBytes(32)): { readonly directory: string; readonly secret: Buffer } {
  const directory = mkdtempSync(join(folder, "state-"))
  if (secret !== null) writeFileSync(join(directory, "machine-secret"), secret, { mode: 0o600 })
  return { directory, secret: Buffer.from(secret ?? []) }
}

/** In hexadecimal, so that a failed comparison shows both. */
const taken = async (directory: string) => (await takeMachineSecret(directory)).toString("hex")
const withCode = (code: string, message: RegExp) => (error: { code: string; message: string }) => {
  assert.equal(error.code, code, error.message)
  assert.match(error.message, message)
  return true
}

/** By tpm2-tools, from what the file has: parent, load, policy, unseal. `auth`: hexadecimal. */
function unsealByTools(directory: string, auth: string | null, via?: string): Buffer {
  const { tpm2 } = readSealed(directory)!
  const cwd = mkdtempSync(join(folder, "tools-"))
  const options = via === undefined ? { cwd } : { cwd, via }
  writeFileSync(join(cwd, "public"), tpm2.public)
  writeFileSync(join(cwd, "private"), tpm2.private)
  const attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
  const template = ["-G", "ecc256:aes128cfb", "-g", "sha256", "-a", attributes]
  if (!tpm2.kept) tpm.tool("createprimary", ["-C", "o", ...template, "-c", "parent"], options)
  const parent = tpm2.kept ? "0x81000001" : "parent"
  tpm.tool("load", ["-C", parent, "-u", "public", "-r", "private", "-c", "item"], options)
  try {
    tpm.tool("startauthsession", ["--policy-session", "-S", "session"], options)
    if (tpm2.pcrs.size > 0)
      tpm.tool("policypcr", ["-S", "session", "-l", `sha256:${[...tpm2.pcrs.keys()].join(",")}`], options)
    if (auth !== null) tpm.tool("policyauthvalue", ["-S", "session"], options)
    const password = auth === null ? "" : `+hex:${auth}`
    return tpm.tool("unseal", ["-c", "item", "-p", `session:session${password}`], options)
  } finally {
    tpm.tool("flushcontext", ["session"], options)
  }
}

test("enroll seals the secret that there is, removes its file, and the secret stays the same, after a reboot too", async () => {
  const { directory, secret } = place()
  let key: Buffer | null = null
  const hadFile = await enroll(directory, NO_PIN, async (recoveryKey, work) => {
    await work(async () => {
      key = Buffer.from(recoveryKey)
      assert.ok(!existsSync(sealedPath(directory)), "delivered before anything changes")
    })
  })
  assert.equal(hadFile, true)
  assert.deepEqual(key, secret)
  assert.deepEqual(readdirSync(directory), ["machine-secret.tpm2"])
  assert.equal(readFileSync(sealedPath(directory)).includes(secret.toString("hex")), false)
  assert.equal(await taken(directory), secret.toString("hex"))
  tpm.reboot()
  assert.equal(await taken(directory), secret.toString("hex"))
  await assert.rejects(enroll(directory, NO_PIN, asked), withCode("MACHINE_SECRET_STATE", /sealed already/))
})

test("enroll makes a secret that was in no file, when there is none", async () => {
  const { directory } = place(null)
  assert.equal(await enroll(directory, NO_PIN, asked), false)
  assert.deepEqual(readdirSync(directory), ["machine-secret.tpm2"])
  assert.equal((await takeMachineSecret(directory)).length, 32)
  assert.equal(await taken(directory), await taken(directory))
})

test("a change of a PCR is refused by its name, until the machine boots as before or the recovery key seals it again", async () => {
  const { directory, secret } = place()
  await enroll(directory, { pcrs: [4, 7], pin: null }, asked)
  tpm.extend(4)
  await assert.rejects(
    takeMachineSecret(directory),
    withCode("TPM_PCRS", /: PCR 4 \(boot loader\) changed .*tresor machine recover/),
  )
  assert.deepEqual((await machineState(directory)).changed, [4])
  // The TPM itself, not only our look at its PCRs.
  assert.throws(() => unsealByTools(directory, null), /policy check failed/)
  await recover(directory, Buffer.from(secret), { pcrs: [4, 7], pin: null })
  assert.equal(await taken(directory), secret.toString("hex"))
  tpm.reboot()
  await assert.rejects(takeMachineSecret(directory), withCode("TPM_PCRS", /PCR 4/))
  tpm.extend(4)
  assert.equal(await taken(directory), secret.toString("hex"))
  await reseal(directory, null, { pcrs: [], pin: null })
  tpm.reboot()
  assert.equal(await taken(directory), secret.toString("hex"))
})

test("a PIN is needed once, until the secret is forgotten", async () => {
  const { directory, secret } = place()
  await enroll(directory, { pcrs: [7], pin: PIN }, asked)
  const sealed = readSealed(directory)!
  assert.equal(await taken(directory), secret.toString("hex"), "who set it is not asked again")
  assert.equal(forgetSecret(sealed), true)
  assert.equal(needsPin(sealed), true)
  await assert.rejects(takeMachineSecret(directory), withCode("MACHINE_SECRET_LOCKED", /`tresor machine unlock`/))
  await unlock(directory, PIN)
  assert.equal(needsPin(sealed), false)
  assert.equal(await taken(directory), secret.toString("hex"))
  forgetSecret(sealed)
  // No PIN any more, and back: each needs the one that it has.
  await assert.rejects(
    reseal(directory, PIN.subarray(1), NO_PIN),
    withCode("TPM_PIN", /^Wrong PIN: the TPM counts 1 of 3/),
  )
  await reseal(directory, PIN, NO_PIN)
  assert.equal(await taken(directory), secret.toString("hex"))
  await unenroll(directory, null)
  assert.deepEqual(readdirSync(directory), ["machine-secret"])
  assert.equal(await taken(directory), secret.toString("hex"))
  tpm.tool("dictionarylockout", ["--clear-lockout"])
})

test("the TPM counts wrong PINs, and locks; then it refuses the right one too, until its owner clears it", async () => {
  const { directory, secret } = place()
  await enroll(directory, { pcrs: [7], pin: PIN }, asked)
  const sealed = readSealed(directory)!
  forgetSecret(sealed)
  const wrong = Buffer.from("wrong")
  for (const counted of ["counts 1 of 3", "counts 2 of 3", "takes no PIN after 3"])
    await assert.rejects(
      unlock(directory, wrong),
      withCode("TPM_PIN", new RegExp(`^Wrong PIN: the TPM ${counted} wrong`)),
    )
  await assert.rejects(
    unlock(directory, PIN),
    withCode(
      "TPM_LOCKOUT",
      /takes no PIN after 3 wrong attempts; it forgets one every 17 minutes.*tpm2_dictionarylockout/,
    ),
  )
  const { tpm: state } = await machineState(directory)
  assert.deepEqual("lockout" in state && state.lockout, {
    locked: true,
    failed: 3,
    most: 3,
    interval: 1000,
    resettable: true,
  })
  // What asks for no PIN goes on.
  const other = place()
  await enroll(other.directory, NO_PIN, asked)
  assert.equal(await taken(other.directory), other.secret.toString("hex"))
  tpm.tool("dictionarylockout", ["--clear-lockout"])
  await unlock(directory, PIN)
  assert.equal(await taken(directory), secret.toString("hex"))
  forgetSecret(sealed)
})

test("tpm2-tools unseal what was sealed, by the policy and the authValue that docs/format.md names", async () => {
  const plain = place()
  await enroll(plain.directory, { pcrs: [0, 7], pin: null }, asked)
  assert.deepEqual(unsealByTools(plain.directory, null), plain.secret)
  const { directory, secret } = place()
  await enroll(directory, { pcrs: [7], pin: PIN }, asked)
  const { salt, iterations } = readSealed(directory)!.tpm2.pin!
  assert.equal(iterations, 10_000)
  const auth = pbkdf2Sync(PIN, salt, iterations, 32, "sha256")
    .toString("hex")
    .replace(/(00)+$/, "")
  assert.deepEqual(unsealByTools(directory, auth), secret)
  assert.throws(() => unsealByTools(directory, "00ff"), /authorization|auth/i)
  forgetSecret(readSealed(directory)!)
  const said = tpm.tool("print", ["-t", "TPM2B_PUBLIC", publicOf(directory)]).toString()
  assert.match(said, /attributes:\s+value: fixedtpm\|fixedparent\n/, "no userwithauth; attempts are counted: no noda")
  tpm.tool("dictionarylockout", ["--clear-lockout"])
})

function publicOf(directory: string): string {
  const path = join(directory, "public")
  writeFileSync(path, readSealed(directory)!.tpm2.public)
  return path
}

test("a storage key that the TPM keeps is used, of whatever kind; without it nothing opens", async () => {
  tpm.tool("createprimary", ["-C", "o", "-G", "rsa2048:aes128cfb", "-c", "rsa"])
  tpm.tool("evictcontrol", ["-C", "o", "-c", "rsa", "0x81000001"])
  const { directory, secret } = place()
  await enroll(directory, NO_PIN, asked)
  assert.equal(readSealed(directory)!.tpm2.kept, true)
  assert.deepEqual(unsealByTools(directory, null), secret)
  assert.equal(await taken(directory), secret.toString("hex"))
  tpm.tool("evictcontrol", ["-C", "o", "-c", "0x81000001"])
  await assert.rejects(
    takeMachineSecret(directory),
    withCode("TPM_OTHER", /does not have the key .*tresor machine recover/),
  )
  // What is no storage key is left alone.
  tpm.tool("createprimary", [
    "-C",
    "o",
    "-G",
    "ecc256:ecdsa:null",
    "-a",
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign",
    "-c",
    "sign",
  ])
  tpm.tool("evictcontrol", ["-C", "o", "-c", "sign", "0x81000001"])
  await recover(directory, Buffer.from(secret), NO_PIN)
  assert.equal(readSealed(directory)!.tpm2.kept, false)
  assert.equal(await taken(directory), secret.toString("hex"))
  tpm.tool("evictcontrol", ["-C", "o", "-c", "0x81000001"])
  assert.equal(await taken(directory), secret.toString("hex"))
})

test("a TPM that was cleared has lost it, and says so; the recovery key seals it again", async () => {
  const { directory, secret } = place()
  await enroll(directory, NO_PIN, asked)
  tpm.tool("clear")
  await assert.rejects(takeMachineSecret(directory), withCode("TPM_OTHER", /was cleared, or is another TPM/))
  await assert.rejects(
    recover(directory, randomBytes(32), NO_PIN),
    withCode("MACHINE_SECRET_STATE", new RegExp(`${idOf(secret)} is there$`)),
  )
  await recover(directory, Buffer.from(secret), NO_PIN)
  assert.equal(await taken(directory), secret.toString("hex"))
  // A file that is damaged is no other secret.
  writeFileSync(sealedPath(directory), "{")
  await assert.rejects(takeMachineSecret(directory), withCode("MACHINE_SECRET_REFUSED", /damaged/))
  await recover(directory, Buffer.from(secret), null)
  assert.deepEqual(readdirSync(directory), ["machine-secret"])
})

test("without a TPM, without tpm2-tss, or with a TCTI that is none, the error says which", async () => {
  const { directory } = place()
  await enroll(directory, NO_PIN, asked)
  const before = process.env["TRESOR_TPM2_TCTI"]
  try {
    for (const tcti of [`device:${join(folder, "none")}`, `swtpm:path=${join(folder, "none")}`]) {
      process.env["TRESOR_TPM2_TCTI"] = tcti
      await assert.rejects(takeMachineSecret(directory), withCode("TPM_MISSING", /none: it cannot be opened/))
    }
    for (const tcti of ["cmd:id", "/tmp/lib.so:x", "device:relative", `swtpm:path=/${"x".repeat(200)}`]) {
      process.env["TRESOR_TPM2_TCTI"] = tcti
      await assert.rejects(takeMachineSecret(directory), withCode("TPM_MISSING", /TRESOR_TPM2_TCTI is neither/))
    }
  } finally {
    process.env["TRESOR_TPM2_TCTI"] = before
  }
  const state = JSON.stringify(fileURLToPath(new URL("../../src/enclave/machine-secret.ts", import.meta.url)))
  const script = `import(${state}).then((m) => m.takeMachineSecret(${JSON.stringify(directory)})).catch((e) => console.log(e.code, e.message))`
  const hidden = spawnSync(
    "unshare",
    [
      "--mount",
      "sh",
      "-c",
      'for each in /usr/lib/*/libtss2-esys.so.0; do mount --bind /dev/null "$each"; done; exec "$@"',
      "sh",
      process.execPath,
      "-e",
      script,
    ],
    { encoding: "utf8", env: { ...process.env, NODE_OPTIONS: "" } },
  )
  assert.match(hidden.stdout, /^TPM_MISSING .*libtss2-esys\.so\.0 is missing; install tpm2-tss/, hidden.stderr)
})

/** All bytes between a program and the TPM, both ways, while `work` uses the socket it is given. */
async function overheard(work: (socket: string) => Promise<void>): Promise<Buffer> {
  const own = mkdtempSync(join(folder, "overheard-"))
  const [listen, file] = [join(own, "sock"), join(own, "bytes")]
  // In a thread of its own: who waits for a program here, waits with all of this one.
  const worker = new Worker(new URL("overhear.ts", import.meta.url), { workerData: { listen, tpm: tpm.socket, file } })
  await once(worker, "message")
  symlinkSync(`${tpm.socket}.ctrl`, `${listen}.ctrl`)
  try {
    await work(listen)
  } finally {
    await worker.terminate()
  }
  return readFileSync(file)
}

test("neither the secret nor the authValue crosses the way to the TPM in clear; without encryption they are found there", async () => {
  const { directory, secret } = place()
  let auth = ""
  const ours = await overheard(async (socket) => {
    process.env["TRESOR_TPM2_TCTI"] = Swtpm.tcti(socket)
    try {
      await enroll(directory, { pcrs: [7], pin: PIN }, asked)
      const { salt, iterations } = readSealed(directory)!.tpm2.pin!
      auth = pbkdf2Sync(PIN, salt, iterations, 32, "sha256")
        .toString("hex")
        .replace(/(00)+$/, "")
      forgetSecret(readSealed(directory)!)
      await unlock(directory, PIN)
    } finally {
      Object.assign(process.env, tpm.env)
    }
  })
  assert.ok(ours.length > 2000, "nothing was heard")
  assert.equal(ours.includes(secret), false)
  assert.equal(ours.includes(Buffer.from(auth, "hex")), false)
  const tools = await overheard(async (socket) => {
    assert.deepEqual(unsealByTools(directory, auth, socket), secret)
  })
  assert.equal(tools.includes(secret), true)
  forgetSecret(readSealed(directory)!)
})

const STEPS: Readonly<Record<string, readonly Step[]>> = {
  enroll: ["sealed", "delivered", "written", "compared", "moved", "overwritten", "removed"],
  reseal: ["sealed", "delivered", "written", "compared"],
  recover: ["sealed", "delivered", "written", "compared"],
  unenroll: ["written", "compared", "removed"],
}

for (const [change, steps] of Object.entries(STEPS)) {
  test(`${change} that ends at any step leaves the same secret, and can be finished`, async () => {
    for (const step of steps) {
      const { directory, secret } = place()
      if (change !== "enroll") await enroll(directory, NO_PIN, asked)
      const script = fileURLToPath(new URL("crash.ts", import.meta.url))
      const ended = spawnSync(process.execPath, [script, change, directory, step, secret.toString("hex")], {
        encoding: "utf8",
      })
      assert.equal(ended.signal, "SIGKILL", `${step}: ${ended.stderr}`)
      assert.equal(await taken(directory), secret.toString("hex"), step)
      const { kept, leftover } = await machineState(directory)
      assert.equal(leftover !== null, ["moved", "overwritten"].includes(step), step)
      if (kept === "file") await enroll(directory, NO_PIN, asked)
      else if (kept === "both")
        await (change === "unenroll" ? unenroll(directory, null) : enroll(directory, NO_PIN, asked))
      else await reseal(directory, null, NO_PIN)
      assert.equal(await taken(directory), secret.toString("hex"), step)
      assert.equal(readdirSync(directory).length, 1, `${step}: ${readdirSync(directory)}`)
    }
  })
}

test("two secrets in one place, two changes at once, and files that others may write are refused", async () => {
  const { directory, secret } = place()
  await enroll(directory, NO_PIN, asked)
  const both = randomBytes(32)
  writeFileSync(join(directory, "machine-secret"), both, { mode: 0o600 })
  await assert.rejects(
    enroll(directory, NO_PIN, asked),
    withCode("MACHINE_SECRET_STATE", new RegExp(`${idOf(both)} and .*${idOf(secret)}`)),
  )
  await assert.rejects(
    unenroll(directory, null),
    withCode("MACHINE_SECRET_STATE", /another than the one that is sealed/),
  )
  assert.deepEqual(readFileSync(join(directory, "machine-secret")), both)
  rmSync(join(directory, "machine-secret"))
  assert.equal(await taken(directory), secret.toString("hex"))
  const first = reseal(directory, null, NO_PIN)
  await assert.rejects(reseal(directory, null, NO_PIN), withCode("MACHINE_SECRET_STATE", /another process/))
  await first
  chmodSync(sealedPath(directory), 0o660)
  await assert.rejects(takeMachineSecret(directory), withCode("MACHINE_SECRET_REFUSED", /mode is 0660/))
  chmodSync(sealedPath(directory), 0o600)
  // What was altered is refused by the TPM, and what was sealed for another name is not taken for it.
  const file = JSON.parse(readFileSync(sealedPath(directory), "utf8"))
  const altered = {
    ...file,
    tpm2: { ...file.tpm2, private: file.tpm2.private.replace(/..$/, (byte: string) => (byte === "00" ? "01" : "00")) },
  }
  const before = readFileSync(sealedPath(directory))
  writeFileSync(sealedPath(directory), JSON.stringify(altered))
  await assert.rejects(
    takeMachineSecret(directory),
    withCode("TPM_OTHER", /it was altered since; .*tresor machine recover/),
  )
  writeFileSync(sealedPath(directory), before)
  const text = readFileSync(sealedPath(directory), "utf8")
  writeFileSync(sealedPath(directory), text.replace(idOf(secret), "00".repeat(8)))
  await assert.rejects(takeMachineSecret(directory), withCode("MACHINE_SECRET_REFUSED", /unsealed another/))
})

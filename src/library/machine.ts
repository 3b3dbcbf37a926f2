/**
 * The machine secret and the TPM: sealed to it, sealed again, taken back. At each moment at least one file has the secret: a
 * file is removed only when what takes its place was read back from stable storage, unsealed and compared.
 */
import { randomBytes, timingSafeEqual } from "node:crypto"
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs"
import { Exit, TresorError } from "../base/errors.ts"
import { makeFile, replaceFile, syncDirectory } from "../base/replace-file.ts"
import { readPlain } from "../enclave/machine-secret.ts"
import {
  forgetSecret,
  formatSealed,
  idOf,
  keepSecret,
  plainPath,
  readSealed,
  SECRET_SIZE,
  type SealedSecret,
  sealedPath,
  unsealSecret,
} from "../enclave/sealed-secret.ts"
import { flock } from "../native/addon.ts"
import { changedPcrs, checkTpm, readTpm, seal, type TpmState } from "../tpm/tpm.ts"

/** What the secret is sealed to. */
export interface SealTo {
  readonly pcrs: readonly number[]
  /** The caller's to wipe; `null`: none. */
  readonly pin: Uint8Array | null
}

/** A change, as far as it has come; tests stop there. */
export type Step = "sealed" | "delivered" | "written" | "compared" | "moved" | "overwritten" | "removed"
export type At = (step: Step) => void

/** Runs `work`, which calls its argument when the recovery key must be with its owner; what was delivered goes again when it fails. */
export type Delivery = (secret: Uint8Array, work: (now: () => Promise<void>) => Promise<void>) => Promise<void>

const onward: At = () => {}

function state(directory: string, fact: string): TresorError {
  return new TresorError(
    "MACHINE_SECRET_STATE",
    Exit.denied,
    `Cannot change the machine secret in ${directory}: ${fact}`,
  )
}

/** One change at a time. Throws MACHINE_SECRET_STATE (exit 2). */
async function alone<T>(directory: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    if (!flock(fd, "exclusive", { wait: false })) throw state(directory, "another process changes it; try again")
    removeLeftover(directory)
    return await work()
  } finally {
    closeSync(fd)
  }
}

/** Wipes `bytes` however `work` ends. */
async function withBytes<T>(bytes: Buffer, work: (bytes: Buffer) => Promise<T>): Promise<T> {
  try {
    return await work(bytes)
  } finally {
    bytes.fill(0)
  }
}

/** Unseals what is in the file, or would be, and compares. */
async function compare(sealed: SealedSecret, secret: Buffer, pin: Uint8Array | null): Promise<void> {
  await withBytes(await unsealSecret(sealed, pin), async (found) => {
    if (!timingSafeEqual(found, secret)) throw new Error("the TPM has another secret than it was given")
  })
}

/** Replaces machine-secret.tpm2. `before`: what must be done before that. */
async function sealTo(
  directory: string,
  secret: Buffer,
  { pcrs, pin }: SealTo,
  { before, at }: { readonly before: () => Promise<void>; readonly at: At },
): Promise<SealedSecret> {
  const made = { id: idOf(secret), tpm2: await seal(secret, { pcrs, pin }) }
  await compare(made, secret, pin)
  at("sealed")
  await before()
  at("delivered")
  replaceFile(sealedPath(directory), formatSealed(made))
  at("written")
  await compare(readSealed(directory)!, secret, pin)
  at("compared")
  if (pin !== null) keep(made, secret)
  return made
}

/** The person who gave the PIN is not asked again; where there is no keyring (a container), they are. */
function keep(sealed: SealedSecret, secret: Buffer): void {
  try {
    keepSecret(sealed, secret)
  } catch (error) {
    if (!(error instanceof TresorError)) throw error
  }
}

/** A file on its way out: not read any more, and overwritten before it goes. */
const leftover = (directory: string): string => `${plainPath(directory)}.removed`

/** Copies of its blocks may stay all the same: on SSDs, in journals, on copy-on-write file systems. */
function removePlain(directory: string, at: At): void {
  renameSync(plainPath(directory), leftover(directory))
  syncDirectory(plainPath(directory))
  at("moved")
  removeLeftover(directory, at)
}

/** What an interrupted change left too. */
function removeLeftover(directory: string, at: At = onward): void {
  const path = leftover(directory)
  if (!existsSync(path) || !existsSync(sealedPath(directory))) return
  const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW)
  try {
    writeSync(fd, randomBytes(SECRET_SIZE), 0, SECRET_SIZE, 0)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  at("overwritten")
  rmSync(path)
  syncDirectory(path)
  at("removed")
}

/**
 * Seals the secret, or a new one where there is none, and removes its file. `deliver`: its recovery key gets to the owner
 * before anything changes. Again after it was interrupted, it goes on. Resolves to whether there was a file.
 * Throws MACHINE_SECRET_STATE, TPM_<WHAT>.
 */
export function enroll(directory: string, to: SealTo, deliver: Delivery, at: At = onward): Promise<boolean> {
  return alone(directory, async () => {
    // First: what is damaged throws, and nothing is to be wiped then.
    const before = readSealed(directory)
    const plain = readPlain(directory)
    if (plain === null && before !== null)
      throw state(directory, "it is sealed already; `tresor machine reseal` changes PCRs and PIN")
    return withBytes(plain ?? randomBytes(SECRET_SIZE), async (secret) => {
      if (before !== null && before.id !== idOf(secret)) throw different(directory, before, secret)
      await deliver(secret, async (now) => {
        await sealTo(directory, secret, to, { before: now, at })
        if (plain !== null) removePlain(directory, at)
      })
      return plain !== null
    })
  })
}

function different(directory: string, sealed: SealedSecret, secret: Buffer): TresorError {
  return state(
    directory,
    `machine-secret is ${idOf(secret)} and machine-secret.tpm2 is ${sealed.id}; move away the one that no volume was sealed ` +
      "with (`tresor key list` names it)",
  )
}

/** The one that is sealed. Throws MACHINE_SECRET_STATE. */
export function sealedIn(directory: string): SealedSecret {
  const sealed = readSealed(directory)
  if (sealed === null) throw state(directory, "it is not sealed; `tresor machine enroll --tpm2` seals it")
  return sealed
}

/** Other PCRs, another PIN or none. `pin`: the one it has. Throws as unsealSecret. */
export function reseal(directory: string, pin: Uint8Array | null, to: SealTo, at: At = onward): Promise<void> {
  return alone(directory, async () => {
    await withBytes(await unsealSecret(sealedIn(directory), pin), async (secret) => {
      const made = await sealTo(directory, secret, to, { before: async () => {}, at })
      if (to.pin === null) forgetSecret(made)
    })
  })
}

/**
 * By the recovery key, which is the secret: sealed again, or with `to` null back in a file. `secret` is the caller's to wipe.
 * Throws MACHINE_SECRET_STATE where it is another than the one that is there.
 */
export function recover(directory: string, secret: Buffer, to: SealTo | null, at: At = onward): Promise<void> {
  return alone(directory, async () => {
    const plain = plainId(directory)
    const ids = [plain, wholeSealed(directory)?.id ?? null]
    const other = ids.find((id) => id !== null && id !== idOf(secret))
    if (other != null)
      throw state(directory, `this is the recovery key of the machine secret ${idOf(secret)}, and ${other} is there`)
    if (to === null) return backToFile(directory, secret, at)
    await sealTo(directory, secret, to, { before: async () => {}, at })
    if (plain !== null) removePlain(directory, at)
  })
}

/** Name of the one in a file; `null`: there is none. Throws MACHINE_SECRET_REFUSED. */
function plainId(directory: string): string | null {
  const plain = readPlain(directory)
  try {
    return plain === null ? null : idOf(plain)
  } finally {
    plain?.fill(0)
  }
}

/** `null`: there is none, or it is damaged, which is a reason to recover. */
export function wholeSealed(directory: string): SealedSecret | null {
  try {
    return readSealed(directory)
  } catch (error) {
    if (error instanceof TresorError) return null
    throw error
  }
}

/** Back in a file, and no longer the TPM's. `pin`: the one it has. Throws as unsealSecret. */
export function unenroll(directory: string, pin: Uint8Array | null, at: At = onward): Promise<void> {
  return alone(directory, async () => {
    await withBytes(await unsealSecret(sealedIn(directory), pin), (secret) => backToFile(directory, secret, at))
  })
}

async function backToFile(directory: string, secret: Buffer, at: At): Promise<void> {
  const sealed = sealedPath(directory)
  makeFile(plainPath(directory), secret)
  at("written")
  await withBytes(readPlain(directory)!, async (found) => {
    if (!timingSafeEqual(found, secret)) throw state(directory, "machine-secret is another than the one that is sealed")
  })
  at("compared")
  const id = wholeSealed(directory)?.id ?? null
  rmSync(sealed, { force: true })
  syncDirectory(sealed)
  at("removed")
  if (id !== null) forgetSecret({ id })
}

/** Into the keyring until the machine goes down. Throws as unsealSecret and keepSecret. */
export async function unlock(directory: string, pin: Uint8Array): Promise<void> {
  const sealed = sealedIn(directory)
  await withBytes(await unsealSecret(sealed, pin), async (secret) => keepSecret(sealed, secret))
}

export interface MachineState {
  readonly directory: string
  /** Where the secret is: "both" while a change is not finished. */
  readonly kept: "none" | "file" | "tpm2" | "both"
  readonly id: string | null
  readonly sealed: SealedSecret | null
  /** What the TPM says now, or why it cannot be asked. */
  readonly tpm: TpmState | TresorError
  /** What it would refuse now; `null`: nothing, but for a PIN. */
  readonly refusal: TresorError | null
  /** PCRs that changed since. */
  readonly changed: readonly number[]
  /** A file with the secret that an interrupted change left; the next one removes it. `null`: none. */
  readonly leftover: string | null
}

async function orError<T>(work: Promise<T>): Promise<T | TresorError> {
  try {
    return await work
  } catch (error) {
    if (error instanceof TresorError) return error
    throw error
  }
}

/** Throws MACHINE_SECRET_REFUSED. */
export async function machineState(directory: string): Promise<MachineState> {
  const plain = plainId(directory)
  const sealed = readSealed(directory)
  const tpm = await orError(readTpm(sealed === null ? [] : [...sealed.tpm2.pcrs.keys()]))
  const checked = sealed === null ? null : await orError(checkTpm(sealed.tpm2))
  const id = plain ?? sealed?.id ?? null
  return {
    directory,
    kept: plain === null ? (sealed === null ? "none" : "tpm2") : sealed === null ? "file" : "both",
    id,
    sealed,
    tpm,
    refusal: checked instanceof TresorError ? checked : null,
    changed: sealed === null || tpm instanceof TresorError ? [] : changedPcrs(sealed.tpm2, tpm),
    leftover: existsSync(leftover(directory)) ? leftover(directory) : null,
  }
}

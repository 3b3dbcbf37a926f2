/** 32 bytes sealed by a TPM 2.0 to its PCRs and a PIN. docs/decisions/0078. */
import { randomBytes } from "node:crypto"
import { Exit, TresorError } from "../base/errors.ts"
import { toHex } from "../base/hex.ts"
import { type TpmPlace, tpmRead, tpmSeal, tpmUnseal } from "../native/tpm.ts"
import { PIN_ITERATIONS, type PinKdf, pinAuth, policyDigest } from "./policy.ts"
import {
  pcrSelection,
  pcrValues,
  properties,
  STORAGE_TEMPLATE,
  sealedTemplate,
  sensitive,
  sized,
  unsized,
} from "./wire.ts"

/** What is kept of a sealed secret; nothing of it is secret. */
export interface Sealed {
  /** The values it is sealed to, by PCR of the SHA-256 bank. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>
  /** `null`: no PIN. */
  readonly pin: PinKdf | null
  /** TPM2B_NAME of the storage key above it. */
  readonly parent: Uint8Array
  /** That key is the one the TPM keeps at 0x81000001; else it is made anew of the owner's seed. */
  readonly kept: boolean
  /** TPM2B_PUBLIC and TPM2B_PRIVATE. */
  readonly public: Uint8Array
  readonly private: Uint8Array
}

/** Protection from guessing: what the TPM counts, over all that it protects. */
export interface Lockout {
  readonly locked: boolean
  /** Wrong attempts that count now, and how many lock it. */
  readonly failed: number
  readonly most: number
  /** Seconds after which one is forgotten. */
  readonly interval: number
  /** The lockout hierarchy has no password: who boots a system on this machine resets the count. */
  readonly resettable: boolean
}

export interface TpmState {
  readonly pcrs: ReadonlyMap<number, Uint8Array>
  readonly lockout: Lockout
}

const DEVICE = "/dev/tpmrm0"

/** $TRESOR_TPM2_TCTI, as tpm2-tools write it: device:PATH, or swtpm:path=PATH for tests; else /dev/tpmrm0. */
function tpmPlace(): TpmPlace {
  const given = process.env["TRESOR_TPM2_TCTI"] ?? ""
  if (given === "") return { path: DEVICE, simulator: false }
  const [, device, socket] = /^(?:device:(\/.+)|swtpm:path=(\/.+))$/.exec(given) ?? []
  const path = device ?? socket
  if (path !== undefined && path.length < 108) return { path, simulator: socket !== undefined }
  throw new TresorError(
    "TPM_MISSING",
    Exit.badArguments,
    "Cannot use the TPM: TRESOR_TPM2_TCTI is neither device:/PATH nor swtpm:path=/PATH; unset it for /dev/tpmrm0",
  )
}

/** Where the TPM is, in words. */
export const placeWords = (): string => tpmPlace().path

/** Response codes (Part 2, 6.6), without what says which handle, session or parameter. */
const Rc = { authFail: 0x8e, badAuth: 0xa2, policyFail: 0x9d, integrity: 0x9f, lockout: 0x921 } as const
/** Of a layer above the TPM; ours is "another" at step `another`. */
const LAYER = 0xffff_0000

function baseOf(rc: number): number {
  return (rc & 0x80) === 0 ? rc : rc & 0xbf
}

const RECOVER = "seal it again with the machine's recovery key (`tresor machine recover`)"

/** Errors of the addon, in words; others as they are. */
async function asked<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw explained(error as NodeJS.ErrnoException)
  }
}

function explained(error: NodeJS.ErrnoException): unknown {
  const { code = "", message: stage } = error
  if (code === "TSS_MISSING") {
    return new TresorError(
      "TPM_MISSING",
      Exit.badArguments,
      `Cannot use the TPM: ${stage} is missing; install tpm2-tss (Debian: libtss2-esys-3.0.2-0 and libtss2-tcti-device0)`,
      { cause: error },
    )
  }
  const [, digits] = /^TSS_([0-9a-f]{8})$/.exec(code) ?? []
  if (digits === undefined) return error
  const rc = Number.parseInt(digits, 16)
  const fail = (errorCode: TresorError["code"], exit: TresorError["exitCode"], text: string) =>
    new TresorError(errorCode, exit, text, { cause: error })
  if (stage === "open") {
    return fail(
      "TPM_MISSING",
      Exit.wrongDevice,
      `Cannot use the TPM at ${placeWords()}: it cannot be opened (0x${digits}); enable the TPM in the firmware, or run as ` +
        "root or in group tss",
    )
  }
  const base = (rc & LAYER) === 0 ? baseOf(rc) : -1
  if (stage === "another" || (stage === "load" && base === Rc.integrity)) {
    const fact =
      stage === "another"
        ? "does not have the key that this was sealed under: it was cleared, or is another TPM"
        : "does not take what was sealed: it was altered since"
    return fail("TPM_OTHER", Exit.denied, `The TPM at ${placeWords()} ${fact}; ${RECOVER}`)
  }
  if (base === Rc.lockout) return fail("TPM_LOCKOUT", Exit.denied, "The TPM is locked after too many wrong attempts")
  if (base === Rc.authFail && stage === "unseal") return fail("TPM_PIN", Exit.denied, "Wrong PIN")
  if (base === Rc.policyFail) return fail("TPM_PCRS", Exit.denied, `The TPM's PCRs are not as they were; ${RECOVER}`)
  const owner =
    stage === "primary" && base === Rc.badAuth
      ? ": its owner hierarchy has a password; keep a storage key at 0x81000001"
      : ""
  const way = owner === "" ? `; \`tpm2_rc_decode 0x${digits}\` says what that is` : owner
  return fail(
    "TPM_FAILED",
    Exit.wrongDevice,
    `The TPM at ${placeWords()} refused (${stage}, response 0x${digits})${way}`,
  )
}

/** TPM2_PT */
const Pt = { permanent: 0x200, lockoutCounter: 0x20e, maxAuthFail: 0x20f, lockoutInterval: 0x210 } as const
/** TPMA_PERMANENT: inLockout, lockoutAuthSet */
const IN_LOCKOUT = 1 << 9
const LOCKOUT_AUTH_SET = 1 << 2

/** Throws TPM_MISSING, TPM_FAILED (also where the TPM keeps no SHA-256 value of one). */
export async function readTpm(pcrs: readonly number[]): Promise<TpmState> {
  const found = new Map<number, Uint8Array>()
  for (;;) {
    const left = pcrs.filter((pcr) => !found.has(pcr))
    const read = await asked(
      tpmRead(tpmPlace(), { selection: left.length === 0 ? new Uint8Array() : pcrSelection(left) }),
    )
    const values = left.length === 0 ? new Map<number, Uint8Array>() : pcrValues(read.selection, read.digests)
    for (const [pcr, value] of values) found.set(pcr, value)
    if (left.length > 0 && values.size === 0) {
      throw new TresorError(
        "TPM_FAILED",
        Exit.wrongDevice,
        `Cannot use PCR ${left.join(", ")}: the TPM at ${placeWords()} keeps no SHA-256 value of it; enable that bank in the firmware`,
      )
    }
    if (found.size < pcrs.length) continue
    const all = properties(read.properties)
    const of = (property: number) => all.get(property) ?? 0
    const lockout = {
      locked: (of(Pt.permanent) & IN_LOCKOUT) !== 0,
      failed: of(Pt.lockoutCounter),
      most: of(Pt.maxAuthFail),
      interval: of(Pt.lockoutInterval),
      resettable: (of(Pt.permanent) & LOCKOUT_AUTH_SET) === 0,
    }
    return { pcrs: found, lockout }
  }
}

/** The PCRs whose values are not what they were at sealing. */
export function changedPcrs(sealed: Pick<Sealed, "pcrs">, now: Pick<TpmState, "pcrs">): number[] {
  return [...sealed.pcrs].flatMap(([pcr, value]) =>
    toHex(now.pcrs.get(pcr) ?? new Uint8Array()) === toHex(value) ? [] : [pcr],
  )
}

/** Firmware, boot loader or keys changed one: which is said by name (UEFI PC Client profile; systemd's UAPI group). */
const PCR_WORDS: Readonly<Record<number, string>> = {
  0: "firmware code",
  1: "firmware configuration",
  2: "code of option ROMs",
  3: "configuration of option ROMs",
  4: "boot loader",
  5: "partition table, boot loader's configuration",
  7: "Secure Boot's state and keys",
  8: "GRUB's commands",
  9: "files that GRUB or the kernel read",
  11: "unified kernel image",
  12: "kernel command line",
  13: "system extensions",
  14: "shim's keys (MOK)",
}

export const pcrWords = (pcr: number): string => (pcr in PCR_WORDS ? `PCR ${pcr} (${PCR_WORDS[pcr]})` : `PCR ${pcr}`)

const seconds = (count: number): string => (count >= 120 ? `${Math.round(count / 60)} minutes` : `${count} s`)

/** How many wrong PINs are left, and what follows. */
export function lockoutWords({ locked, failed, most, interval }: Lockout): string {
  const forgets = interval === 0 ? "it forgets none by itself" : `it forgets one every ${seconds(interval)}`
  const clear = "its owner clears it with `tpm2_dictionarylockout --clear-lockout`"
  return locked
    ? `the TPM takes no PIN after ${failed} wrong attempts; ${forgets}, or ${clear}`
    : `the TPM counts ${failed} of ${most} wrong attempts that lock it; ${forgets}`
}

/** What the TPM would refuse, said before a PIN is asked for. Throws TPM_PCRS, TPM_LOCKOUT, and as readTpm. */
export async function checkTpm(sealed: Sealed): Promise<TpmState> {
  const state = await readTpm([...sealed.pcrs.keys()])
  const changed = changedPcrs(sealed, state)
  if (changed.length > 0) {
    throw new TresorError(
      "TPM_PCRS",
      Exit.denied,
      `The TPM refuses: ${changed.map(pcrWords).join(", ")} changed since the machine secret was ` +
        `sealed; boot as before, or ${RECOVER}`,
    )
  }
  if (sealed.pin !== null && state.lockout.locked) {
    throw new TresorError("TPM_LOCKOUT", Exit.denied, `The TPM refuses: ${lockoutWords(state.lockout)}; or ${RECOVER}`)
  }
  return state
}

/** Of `secret`, 32 bytes. `pin`: bytes, the caller's to wipe; null: none. Throws as readTpm, TPM_FAILED, TPM_LOCKOUT. */
export async function seal(
  secret: Uint8Array,
  { pcrs, pin }: { readonly pcrs: readonly number[]; readonly pin: Uint8Array | null },
): Promise<Sealed> {
  const state = await readTpm(pcrs)
  const kdf = pin === null ? null : { salt: new Uint8Array(randomBytes(32)), iterations: PIN_ITERATIONS }
  const auth = kdf === null ? new Uint8Array() : pinAuth(pin!, kdf)
  const wanted = sensitive(auth, secret)
  auth.fill(0)
  try {
    const made = await asked(
      tpmSeal(tpmPlace(), {
        template: STORAGE_TEMPLATE,
        sensitive: wanted,
        public: sealedTemplate(policyDigest(state.pcrs, pin !== null), pin !== null),
      }),
    )
    return { pcrs: state.pcrs, pin: kdf, ...made }
  } finally {
    wanted.fill(0)
  }
}

/**
 * The bytes, the caller's to wipe. Throws TPM_MISSING, TPM_FAILED, TPM_OTHER; TPM_PCRS, TPM_LOCKOUT; TPM_PIN (exit 2), which
 * the TPM has counted.
 */
export async function unseal(sealed: Sealed, pin: Uint8Array | null): Promise<Uint8Array> {
  // The TPM would count it.
  if (sealed.pin !== null && pin === null) throw new RangeError("a PIN is needed")
  await checkTpm(sealed)
  const auth = sealed.pin === null ? new Uint8Array() : pinAuth(pin!, sealed.pin)
  const wrapped = sealed.pin === null ? new Uint8Array() : sized(auth)
  auth.fill(0)
  try {
    const { data } = await asked(
      tpmUnseal(tpmPlace(), {
        template: STORAGE_TEMPLATE,
        parent: sealed.parent,
        public: sealed.public,
        private: sealed.private,
        selection: sealed.pcrs.size === 0 ? new Uint8Array() : pcrSelection([...sealed.pcrs.keys()]),
        auth: wrapped,
      }),
    )
    try {
      return unsized(data)
    } finally {
      data.fill(0)
    }
  } catch (error) {
    if (!(error instanceof TresorError) || (error.code !== "TPM_PIN" && error.code !== "TPM_LOCKOUT")) throw error
    const { lockout } = await readTpm([])
    throw new TresorError(error.code, error.exitCode, `${error.message}: ${lockoutWords(lockout)}`, { cause: error })
  } finally {
    wrapped.fill(0)
  }
}

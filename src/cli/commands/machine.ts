/** `tresor machine …`: the software backend's root secret and the TPM. */
import { TresorError } from "../../base/errors.ts"
import { toHex } from "../../base/hex.ts"
import { stateDir } from "../../enclave/machine-secret.ts"
import { forgetSecret, needsPin, plainPath, type SealedSecret, sealedPath } from "../../enclave/sealed-secret.ts"
import * as library from "../../library/machine.ts"
import { decodeRecoveryKey, encodeRecoveryKey } from "../../luks2/recovery-key.ts"
import { keepingOf } from "../../protection/secret.ts"
import { type Protection, secretProtection } from "../../protection/words.ts"
import { lockoutWords, pcrWords, placeWords, readTpm } from "../../tpm/tpm.ts"
import { readNewPin, withPin } from "../machine-pin.ts"
import { err, out } from "../output/output.ts"
import { shade, type Worth } from "../output/state.ts"
import { checkRecovery, type RecoveryOptions, withDelivery } from "../recovery-key.ts"
import { type SecretSource, withSecret } from "../secrets.ts"
import { facts } from "../table.ts"
import { readRecoveryKey } from "../typed-recovery-key.ts"

interface PinWords {
  readonly pinFile?: string
  readonly timeout?: number
  readonly tries: number
}

interface NewPinWords {
  readonly pcrs?: readonly number[]
  readonly pin?: boolean
  readonly newPinFile?: string
  readonly timeout?: number
}

const source = (file: string | undefined, timeout: number | undefined): SecretSource => ({
  ...(file === undefined ? {} : { keyFile: file }),
  ...(timeout === undefined ? {} : { timeout }),
})

/** The PIN that a sealed secret has, when it has one. */
function withItsPin<T>(
  sealed: SealedSecret,
  words: PinWords,
  work: (pin: Uint8Array | null) => Promise<T>,
): Promise<T> {
  return sealed.tpm2.pin === null
    ? work(null)
    : withPin({ ...source(words.pinFile, words.timeout), tries: words.tries }, work)
}

/** The one to be set; `null`: none. */
async function withNewPin<T>(
  { pin, newPinFile, timeout }: NewPinWords,
  work: (pin: Uint8Array | null) => Promise<T>,
): Promise<T> {
  return pin === true || newPinFile !== undefined
    ? withSecret(readNewPin(source(newPinFile, timeout)), work)
    : work(null)
}

const WITHOUT_PIN =
  "Without a PIN, a thief of the whole machine can boot another system with the same PCRs, unseal the machine secret and " +
  "guess passphrases; `tresor machine reseal --pin` adds one, and the TPM counts wrong ones."

const RESETTABLE =
  "the PIN, from guessing without end by a thief of the whole machine who resets the TPM's count: its lockout hierarchy has no " +
  "password (`tpm2_changeauth --object-context=lockout` sets one)"

/** The TPM's value before anything was measured into a PCR, and that of a bank nobody measures into. */
const unused = (value: Uint8Array): boolean => value.every((byte) => byte === 0) || value.every((byte) => byte === 0xff)

async function advise(directory: string): Promise<void> {
  const { sealed, tpm } = await library.machineState(directory)
  if (sealed === null) return
  const idle = [...sealed.tpm2.pcrs].filter(([, value]) => unused(value)).map(([pcr]) => pcrWords(pcr))
  if (idle.length > 0)
    err.line(`WARNING! This firmware measures nothing into ${idle.join(", ")}: any system has the same value there.`)
  if (sealed.tpm2.pin === null) err.line(WITHOUT_PIN)
  else if (!(tpm instanceof TresorError) && tpm.lockout.resettable) err.line(`WARNING! Not protected: ${RESETTABLE}`)
}

const KEY_WORDS = {
  title: "This is the recovery key of this machine's secret:",
  notice: [
    "Write it down and keep it away from this machine. When the TPM refuses (firmware or Secure Boot keys",
    "changed, board replaced), `tresor machine recover` takes it and all passphrases of this machine work",
    "again. Who has it and a volume's disk can guess that volume's passphrase; it opens no volume by itself.",
  ],
}

export interface EnrollWords extends NewPinWords, RecoveryOptions {
  readonly pcrs: readonly number[]
  readonly recovery: boolean
}

export async function enroll(options: EnrollWords): Promise<void> {
  const directory = stateDir()
  if (options.recovery) checkRecovery(options)
  // Before anything is asked.
  await readTpm(options.pcrs)
  const deliver = (secret: Uint8Array, work: (deliver: () => Promise<void>) => Promise<void>): Promise<void> =>
    options.recovery
      ? withSecret(encodeRecoveryKey(secret), (key) => withDelivery(options, key, KEY_WORDS, work))
      : work(async () => {})
  const hadFile = await withNewPin(options, (pin) => library.enroll(directory, { pcrs: options.pcrs, pin }, deliver))
  out.line(`The machine secret is sealed to the TPM, in ${sealedPath(directory)}.`)
  if (hadFile) {
    err.line(
      `${plainPath(directory)} was overwritten and removed; a copy of its blocks may remain on an SSD, on a copy-on-write ` +
        "file system or in a backup.",
    )
  }
  await advise(directory)
}

export async function reseal(options: NewPinWords & PinWords): Promise<void> {
  const directory = stateDir()
  const sealed = library.sealedIn(directory)
  const pcrs = options.pcrs ?? [...sealed.tpm2.pcrs.keys()]
  await withItsPin(sealed, options, (pin) => {
    // Kept as it is, unless another is asked for or none.
    if (options.pin === undefined && options.newPinFile === undefined)
      return library.reseal(directory, pin, { pcrs, pin })
    return withNewPin(options, (fresh) => library.reseal(directory, pin, { pcrs, pin: fresh }))
  })
  out.line("The machine secret is sealed anew.")
  await advise(directory)
}

export interface RecoverWords extends NewPinWords {
  readonly pcrs: readonly number[]
  readonly recoveryKeyFile?: string
  readonly tpm2: boolean
}

export async function recover(options: RecoverWords): Promise<void> {
  const directory = stateDir()
  const prompt = "Enter recovery key of this machine's secret"
  await withSecret(readRecoveryKey(prompt, source(options.recoveryKeyFile, options.timeout)), (text) =>
    withSecret(decodeRecoveryKey(text), async (key) => {
      const secret = Buffer.from(key.buffer, key.byteOffset, key.byteLength)
      if (!options.tpm2) return library.recover(directory, secret, null)
      // One that had a PIN gets one again, unless --no-pin.
      const hadPin = library.wholeSealed(directory)?.tpm2.pin != null
      const words = { ...options, pin: options.pin ?? hadPin }
      await withNewPin(words, (pin) => library.recover(directory, secret, { pcrs: options.pcrs, pin }))
    }),
  )
  const path = options.tpm2 ? sealedPath(directory) : plainPath(directory)
  out.line(`The machine secret is ${options.tpm2 ? "sealed to the TPM" : "back"}, in ${path}.`)
  if (options.tpm2) await advise(directory)
}

export async function unenroll(options: PinWords): Promise<void> {
  const directory = stateDir()
  await withItsPin(library.sealedIn(directory), options, (pin) => library.unenroll(directory, pin))
  out.line(`The machine secret is in ${plainPath(directory)}, and no longer the TPM's.`)
}

export async function unlock(options: PinWords & { readonly passwordAgent?: true }): Promise<void> {
  const directory = stateDir()
  const sealed = library.sealedIn(directory)
  if (!needsPin(sealed)) return
  const asked = {
    ...source(options.pinFile, options.timeout),
    ...(options.passwordAgent === true && { passwordAgent: true as const }),
    tries: options.tries,
  }
  await withPin(asked, (pin) => library.unlock(directory, pin))
}

export async function lock(): Promise<void> {
  const sealed = library.sealedIn(stateDir())
  forgetSecret(sealed)
}

const KEPT: Readonly<Record<library.MachineState["kept"], (directory: string) => string>> = {
  none: () => "none yet; the first volume of the software backend makes one",
  file: (directory) => plainPath(directory),
  tpm2: (directory) => `sealed to the TPM, in ${sealedPath(directory)}`,
  both: (directory) =>
    `in ${plainPath(directory)} and sealed to the TPM: a change was interrupted; run \`tresor machine enroll --tpm2\` again`,
}

function opens({ sealed, refusal, kept }: library.MachineState): readonly [Worth, string] {
  if (sealed === null || kept === "both") return ["good", "yes"]
  if (refusal !== null) return ["bad", refusal.message]
  return needsPin(sealed) ? ["fair", "for its PIN: `tresor machine unlock` asks for it"] : ["good", "yes"]
}

/** The object of `machine status --json`. */
function jsonOf(state: library.MachineState) {
  const { directory, kept, id, sealed, tpm, changed, leftover, refusal } = state
  const keeping = protectionOf(state)
  return {
    directory,
    kept,
    id,
    opens: sealed === null || kept === "both" || (refusal === null && !needsPin(sealed)),
    refusal: refusal === null ? null : { code: refusal.code, message: refusal.message },
    tpm2:
      sealed === null
        ? null
        : {
            pcrs: [...sealed.tpm2.pcrs].map(([pcr, value]) => ({
              pcr,
              value: toHex(value),
              changed: changed.includes(pcr),
              unused: unused(value),
            })),
            pin: sealed.tpm2.pin !== null,
            unlocked: sealed.tpm2.pin !== null && !needsPin(sealed),
            storageKey: sealed.tpm2.kept ? "0x81000001" : "owner seed",
          },
    tpm:
      tpm instanceof TresorError
        ? { path: null, fault: tpm.message, lockout: null }
        : { path: placeWords(), fault: null, lockout: tpm.lockout },
    leftover,
    protected: keeping.protected,
    exposed: keeping.exposed,
  }
}

function protectionOf({ sealed, kept, tpm }: library.MachineState): Protection {
  const keeping = keepingOf(kept === "both" ? null : sealed)
  const words = secretProtection(keeping)
  const resettable = keeping === "tpm2-pin" && !(tpm instanceof TresorError) && tpm.lockout.resettable
  return resettable ? { ...words, exposed: [...words.exposed, RESETTABLE] } : words
}

export async function status(options: { readonly json?: true }): Promise<void> {
  const state = await library.machineState(stateDir())
  if (options.json === true) return out.json(jsonOf(state), 2)
  const { directory, kept, id, sealed, tpm, changed, leftover } = state
  const keeping = protectionOf(state)
  const [worth, words] = opens(state)
  const listed = (title: string, lines: readonly string[], shadeAs: Worth) =>
    lines.map((line, i) => [i === 0 ? shade(shadeAs, title) : "", line] as const)
  const pcrs = [...(sealed?.tpm2.pcrs ?? [])].map(([pcr, value]) => {
    const fact =
      tpm instanceof TresorError
        ? "not known"
        : changed.includes(pcr)
          ? shade("bad", "changed since it was sealed")
          : "as it was sealed"
    return `${pcrWords(pcr)}: ${fact}${unused(value) ? "; the firmware measures nothing into it" : ""}`
  })
  const pin =
    sealed === null
      ? null
      : sealed.tpm2.pin === null
        ? "none"
        : needsPin(sealed)
          ? "needed"
          : "given since the machine started"
  out.text(
    facts(
      [
        ["machine secret", KEPT[kept](directory)],
        ...(id === null ? [] : [["name", id] as const]),
        ...(kept === "none" ? [] : [["opens", shade(worth, words)] as const]),
        ...listed("PCRs", pcrs, "good"),
        ...(pin === null ? [] : [["PIN", pin] as const]),
        ["TPM", tpm instanceof TresorError ? tpm.message : `${placeWords()}: ${lockoutWords(tpm.lockout)}`],
        ...(leftover === null
          ? []
          : [
              [
                shade("bad", "warning"),
                `${leftover} has the secret: a change was interrupted; the next one removes it`,
              ] as const,
            ]),
        ...(kept === "none" ? [] : listed("protected", keeping.protected, "good")),
        ...(kept === "none" ? [] : listed("not protected", keeping.exposed, "fair")),
      ],
      out.columns,
    ),
  )
}

/**
 * A machine secret that is sealed to the TPM: the file machine-secret.tpm2 in the place of machine-secret
 * (docs/format.md, "The sealed machine secret"). With a PIN it is unsealed once, and is then in the kernel's keyring of this
 * user until the machine goes down; without one, each process that needs it has it unsealed.
 */
import { hkdfSync } from "node:crypto"
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as v from "valibot"
import { Exit, TresorError } from "../base/errors.ts"
import { fromHex, toHex } from "../base/hex.ts"
import { parseJson } from "../base/json.ts"
import { keyringForget, keyringKeep, keyringRead } from "../native/keyring.ts"
import { checkTpm, type Sealed, unseal } from "../tpm/tpm.ts"
import { MOST_PCR } from "../tpm/wire.ts"
import { readOwn, refuseSecret } from "./own-file.ts"
import { SECRET_FILES } from "./secret-owner.ts"

/** Bytes. */
export const SECRET_SIZE = 32

/** Of a machine secret for its name: what can be told of it without telling anything. */
const NAME_INFO = "tresor machine secret name"

/** 16 hex digits. */
export const idOf = (secret: Uint8Array): string =>
  Buffer.from(hkdfSync("sha256", secret, "", NAME_INFO, 8)).toString("hex")

export interface SealedSecret {
  readonly id: string
  readonly tpm2: Sealed
}

export const sealedPath = (directory: string): string => join(directory, SECRET_FILES.sealed)
export const plainPath = (directory: string): string => join(directory, SECRET_FILES.plain)

/** Whether the secret there is the TPM's alone: a file beside it stands above it. */
export const isSealed = (directory: string): boolean =>
  existsSync(sealedPath(directory)) && !existsSync(plainPath(directory))

/** Far more than one has. */
const MOST_BYTES = 65_536

const bytes = v.pipe(
  v.string(),
  v.maxLength(4096),
  v.regex(/^(?:[0-9a-f]{2})+$/),
  v.transform((text) => fromHex(text)!),
)
const digest = v.pipe(
  v.string(),
  v.regex(/^[0-9a-f]{64}$/),
  v.transform((text) => fromHex(text)!),
)
const pcrNumber = v.pipe(
  v.string(),
  v.regex(/^(?:\d|1\d|2\d)$/),
  v.check((text) => Number(text) <= MOST_PCR),
)

const schema = v.strictObject({
  version: v.literal(1),
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
  tpm2: v.strictObject({
    bank: v.literal("sha256"),
    pcrs: v.record(pcrNumber, digest),
    pin: v.nullable(
      v.strictObject({
        salt: digest,
        // What a person waits for, and no more than that.
        iterations: v.pipe(v.number(), v.integer(), v.minValue(1000), v.maxValue(10_000_000)),
      }),
    ),
    parent: bytes,
    kept: v.boolean(),
    public: bytes,
    private: bytes,
  }),
})

export function formatSealed({ id, tpm2 }: SealedSecret): string {
  const { pcrs, pin, parent, kept } = tpm2
  const values = Object.fromEntries([...pcrs].map(([pcr, value]) => [String(pcr), toHex(value)]))
  const file = {
    version: 1,
    id,
    tpm2: {
      bank: "sha256",
      pcrs: values,
      pin: pin === null ? null : { salt: toHex(pin.salt), iterations: pin.iterations },
      parent: toHex(parent),
      kept,
      public: toHex(tpm2.public),
      private: toHex(tpm2.private),
    },
  }
  return `${JSON.stringify(file, null, 2)}\n`
}

/** `null`: there is none. Throws MACHINE_SECRET_REFUSED (exit 2). */
export function readSealed(directory: string): SealedSecret | null {
  const path = sealedPath(directory)
  const text = readOwn(path, MOST_BYTES)
  if (text === null) return null
  try {
    const { id, tpm2 } = v.parse(schema, parseJson(text.toString("utf8")))
    const { bank, pcrs, ...rest } = tpm2
    return { id, tpm2: { ...rest, pcrs: new Map(Object.entries(pcrs).map(([pcr, value]) => [Number(pcr), value])) } }
  } catch (error) {
    throw refuseSecret(
      path,
      "it is damaged; restore it, or use the machine's recovery key (`tresor machine recover`)",
      error,
    )
  }
}

const keyName = (id: string): string => `tresor:machine-secret:${id}`

/** From the keyring; `null`: it is not there. The caller's to wipe. */
function keptSecret({ id }: Pick<SealedSecret, "id">): Buffer | null {
  const found = keyringRead(keyName(id))
  if (found === null) return null
  const secret = Buffer.from(found.buffer, found.byteOffset, found.byteLength)
  if (secret.length === SECRET_SIZE && idOf(secret) === id) return secret
  secret.fill(0)
  return null
}

/** Into the keyring. Throws MACHINE_SECRET_LOCKED (exit 2) where there is none to use. */
export function keepSecret({ id }: Pick<SealedSecret, "id">, secret: Uint8Array): void {
  try {
    keyringKeep(keyName(id), secret)
  } catch (error) {
    throw new TresorError(
      "MACHINE_SECRET_LOCKED",
      Exit.denied,
      `Cannot keep the unsealed machine secret in the kernel's keyring (${(error as NodeJS.ErrnoException).code}): add_key(2) is ` +
        "refused, as in many containers; run it outside, or seal the secret without a PIN",
      { cause: error },
    )
  }
}

/** Out of the keyring; false: it was not there. */
export const forgetSecret = ({ id }: Pick<SealedSecret, "id">): boolean => keyringForget(keyName(id))

/** Whether it takes a PIN to get it now. */
export function needsPin(sealed: SealedSecret): boolean {
  if (sealed.tpm2.pin === null) return false
  const kept = keptSecret(sealed)
  kept?.fill(0)
  return kept === null
}

/** By the TPM, and the one that was sealed. `pin` null: there is none. The caller's to wipe. Throws as unseal of tpm.ts. */
export async function unsealSecret(sealed: SealedSecret, pin: Uint8Array | null): Promise<Buffer> {
  const found = await unseal(sealed.tpm2, pin)
  const secret = Buffer.from(found.buffer, found.byteOffset, found.byteLength)
  if (secret.length === SECRET_SIZE && idOf(secret) === sealed.id) return secret
  secret.fill(0)
  throw new TresorError(
    "MACHINE_SECRET_REFUSED",
    Exit.denied,
    `Cannot use the machine secret: the TPM unsealed another than ${sealed.id}; \`tresor machine recover\` seals it again`,
  )
}

/**
 * By whichever way needs no person. The caller's to wipe. Throws MACHINE_SECRET_LOCKED (exit 2) where a PIN is needed, and as
 * unseal of tpm.ts.
 */
export async function takeSealed(directory: string, sealed: SealedSecret): Promise<Buffer> {
  const kept = keptSecret(sealed)
  if (kept !== null) return kept
  if (sealed.tpm2.pin === null) return unsealSecret(sealed, null)
  // What the TPM would refuse, it refuses with the PIN too.
  await checkTpm(sealed.tpm2)
  throw new TresorError(
    "MACHINE_SECRET_LOCKED",
    Exit.denied,
    `Cannot use the machine secret ${sealedPath(directory)}: the TPM unseals it for its PIN only; \`tresor machine unlock\` asks for it`,
  )
}

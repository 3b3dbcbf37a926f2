/**
 * Record of the legacy daemon: the sealed salt and the KDF over it. Nothing
 * in it is secret; without it what was written through the cipher is lost.
 */
import { randomUUID } from "node:crypto"
import { mkdirSync, readFileSync } from "node:fs"
import { dirname } from "node:path"
import * as v from "valibot"
import { Exit, TresorError } from "../base/errors.ts"
import { parseJson } from "../base/json.ts"
import { replaceFile } from "../base/replace-file.ts"
import type { Kdf } from "../luks2/types.ts"

const count = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffffffff))

const recordSchema = v.strictObject({
  version: v.literal(1),
  uuid: v.pipe(v.string(), v.uuid()),
  kdf: v.variant("type", [
    v.strictObject({ type: v.picklist(["argon2i", "argon2id"]), time: count, memoryKib: count, lanes: count }),
    v.strictObject({ type: v.literal("pbkdf2"), hash: v.picklist(["sha256", "sha512"]), iterations: count }),
  ]),
  /** struct tresor_sealed_salt, base64. */
  sealed: v.pipe(
    v.string(),
    v.base64(),
    v.transform((text): Uint8Array => Buffer.from(text, "base64")),
  ),
})

export interface LegacyRecord {
  readonly uuid: string
  readonly kdf: Kdf
  /** `null`: no key was ever asked for; the enclave makes a salt with the first. */
  readonly sealed: Uint8Array | null
}

/** A new record, not written yet. */
export function newRecord(kdf: Kdf): LegacyRecord {
  return { uuid: randomUUID(), kdf, sealed: null }
}

/** `null`: there is none. Throws RECORD_DAMAGED (exit 4). */
export function readRecord(path: string): LegacyRecord | null {
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null
    throw error
  }
  try {
    const { uuid, kdf, sealed } = v.parse(recordSchema, parseJson(text))
    return { uuid, kdf, sealed }
  } catch (error) {
    throw new TresorError(
      "RECORD_DAMAGED",
      Exit.wrongDevice,
      `Cannot read ${path}: it is not a record of tresord --legacy; restore it from a backup (its salt cannot be recreated)`,
      { cause: error },
    )
  }
}

/** On stable storage when it returns: data is about to be written under its key. */
export function writeRecord(path: string, record: LegacyRecord & { readonly sealed: Uint8Array }): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const { uuid, kdf, sealed } = record
  const text = `${JSON.stringify({ version: 1, uuid, kdf, sealed: Buffer.from(sealed).toString("base64") }, null, 2)}\n`
  replaceFile(path, text)
}

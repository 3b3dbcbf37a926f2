/**
 * Images that may be needed again: a keyslot sealed to one (policy mrenclave) opens in no other, but for a succession
 * (docs/decisions/0060), and that needs the old one. Every image that was started to make or open seals is kept in
 * enclaves/<MRENCLAVE> below the state directory, which holds the machine secret as well.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { TresorError } from "../base/errors.ts"
import { toHex } from "../base/hex.ts"
import { replaceFile } from "../base/replace-file.ts"
import { parseConf } from "./image/conf.ts"
import { type EnclaveImage, parseImage } from "./image/elf.ts"
import { newSha256 } from "./image/keys.ts"
import { measureImage } from "./image/sgxs.ts"
import { parseSigstruct } from "./image/sigstruct.ts"

export interface ImageBytes {
  readonly image: Uint8Array
  readonly conf: string
  readonly sigstruct: Uint8Array
}

const FILES = { image: "tresor.elf", conf: "enclave.conf", sigstruct: "tresor.sigstruct" } as const

const folderOf = (stateDir: string): string => join(stateDir, "enclaves")

/** Keeps it unless it is kept. Throws the system's errors. */
export function keepImage(stateDir: string, { image, conf, sigstruct }: ImageBytes): void {
  const { mrenclave } = parseSigstruct(sigstruct, newSha256)
  const folder = join(folderOf(stateDir), mrenclave)
  // The last file written: with it, all are there.
  const last = join(folder, FILES.sigstruct)
  if (existsSync(last)) return
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  replaceFile(join(folder, FILES.image), image)
  replaceFile(join(folder, FILES.conf), conf)
  replaceFile(last, sigstruct)
}

/** MRENCLAVEs of what is kept. */
export function keptImages(stateDir: string): string[] {
  const folder = folderOf(stateDir)
  if (!existsSync(folder)) return []
  return readdirSync(folder).filter(
    (name) => /^[0-9a-f]{64}$/.test(name) && existsSync(join(folder, name, FILES.sigstruct)),
  )
}

export const isKept = (stateDir: string, mrenclave: string): boolean => keptImages(stateDir).includes(mrenclave)

/** What a kept image's SIGSTRUCT says of it; `null`: it is not kept. */
export function keptIdentity(
  stateDir: string,
  mrenclave: string,
): { readonly mrenclave: string; readonly mrsigner: string } | null {
  if (!isKept(stateDir, mrenclave)) return null
  const { mrsigner } = parseSigstruct(readFileSync(join(folderOf(stateDir), mrenclave, FILES.sigstruct)), newSha256)
  return { mrenclave, mrsigner }
}

/** `null`: it is not kept, or what is there is no image, or another. Throws the system's errors. */
export function readKept(
  stateDir: string,
  mrenclave: string,
): { readonly image: EnclaveImage; readonly sigstruct: Uint8Array } | null {
  if (!isKept(stateDir, mrenclave)) return null
  const folder = join(folderOf(stateDir), mrenclave)
  try {
    const conf = parseConf(readFileSync(join(folder, FILES.conf), "utf8"))
    const image = parseImage(readFileSync(join(folder, FILES.image)), conf)
    const measured = toHex(measureImage(image, newSha256).mrenclave)
    return measured === mrenclave ? { image, sigstruct: readFileSync(join(folder, FILES.sigstruct)) } : null
  } catch (error) {
    if (error instanceof TresorError) return null
    throw error
  }
}

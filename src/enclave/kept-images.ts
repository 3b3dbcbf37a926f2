/**
 * Images that may be needed again: a keyslot sealed to one (policy mrenclave) opens in no other, but for a succession
 * (docs/decisions/0060), and that needs the old one. Every image that was started to make or open seals is kept in
 * enclaves/<MRENCLAVE> below the state directory, which holds the machine secret as well:
 *
 *   tresor.elf, enclave.conf   the image
 *   tresor.sigstruct           the signature it was kept with
 *   <MRSIGNER>.sigstruct       those of signers for which keyslots are sealed (policy mrsigner)
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { TresorError } from "../base/errors.ts"
import { toHex } from "../base/hex.ts"
import { installationRoot } from "../base/installation.ts"
import { replaceFile } from "../base/replace-file.ts"
import type { Sealer } from "../luks2/tresor-token.ts"
import { parseConf } from "./image/conf.ts"
import { type EnclaveImage, parseImage } from "./image/elf.ts"
import { newSha256 } from "./image/keys.ts"
import { measureImage } from "./image/sgxs.ts"
import { parseSigstruct } from "./image/sigstruct.ts"
import { stateDir } from "./machine-secret.ts"
import { secretOwner, stateOf } from "./secret-owner.ts"

export interface ImageBytes {
  readonly image: Uint8Array
  readonly conf: string
  readonly sigstruct: Uint8Array
}

/** One signature of an image that is kept. */
export interface KeptImage {
  readonly mrenclave: string
  readonly mrsigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  readonly folder: string
  /** Below `folder`. */
  readonly sigstruct: string
}

const FILES = { image: "tresor.elf", conf: "enclave.conf", sigstruct: "tresor.sigstruct" } as const

const folderOf = (stateDir: string): string => join(stateDir, "enclaves")

/**
 * State directories that may have a kept image: this process's own, which is where it keeps them; for root also that of
 * the user whose checkout this is, since that user's build may have kept one. Not that of the user whose volume it is: an
 * image of the software backend is code that runs with our rights, and the volume's header names which one.
 */
export function keptPlaces(): readonly string[] {
  const own = stateDir()
  if (process.getuid!() !== 0 || (process.env["TRESOR_STATE_DIR"] ?? "") !== "") return [own]
  const { uid } = statSync(installationRoot)
  const builder = uid === 0 ? null : stateOf(uid)
  return builder === null ? [own] : [own, builder.state]
}

/** The way out where root has no image, and the user whose volume it is may have it; `null`: it is nobody else's. */
export function keptByOwner(): string | null {
  const owner = secretOwner()
  return owner === null
    ? null
    : `open it once as ${owner.name}, who may have kept that enclave's image: root runs no image of another user`
}

/** Keeps an image unless it is kept; `forSigner`: this signature of it too. Throws the system's errors. */
export function keepImage(stateDir: string, { image, conf, sigstruct }: ImageBytes, forSigner = false): void {
  const { mrenclave, mrsigner } = parseSigstruct(sigstruct, newSha256)
  const folder = join(folderOf(stateDir), mrenclave)
  // The last file written: with it, all are there.
  const last = join(folder, FILES.sigstruct)
  if (!existsSync(last)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    replaceFile(join(folder, FILES.image), image)
    replaceFile(join(folder, FILES.conf), conf)
    replaceFile(last, sigstruct)
  }
  const own = join(folder, `${mrsigner}.sigstruct`)
  if (forSigner && !existsSync(own)) replaceFile(own, sigstruct)
}

/** What is kept in these state directories; an image once for each signature. Throws the system's errors. */
export function keptImages(places: readonly string[]): KeptImage[] {
  return places.flatMap((place) => {
    const all = folderOf(place)
    if (!existsSync(all)) return []
    return readdirSync(all)
      .filter((name) => /^[0-9a-f]{64}$/.test(name) && existsSync(join(all, name, FILES.sigstruct)))
      .flatMap((mrenclave) => signaturesIn(join(all, mrenclave), mrenclave))
  })
}

function signaturesIn(folder: string, mrenclave: string): KeptImage[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".sigstruct"))
    .flatMap((sigstruct) => {
      const bytes = readFileSync(join(folder, sigstruct))
      try {
        const { mrsigner, isvProdId, isvSvn, ...signed } = parseSigstruct(bytes, newSha256)
        return signed.mrenclave === mrenclave ? [{ mrenclave, mrsigner, isvProdId, isvSvn, folder, sigstruct }] : []
      } catch (error) {
        // A damaged one signs nothing.
        if (error instanceof TresorError) return []
        throw error
      }
    })
}

/** The kept image that opens what `sealer` has sealed; `null`: there is none. Throws the system's errors. */
export function keptFor(places: readonly string[], sealer: Sealer): KeptImage | null {
  const { policy, mrenclave, mrsigner, isvProdId, isvSvn } = sealer
  const same = keptImages(places).filter((kept) => kept.mrenclave === mrenclave)
  if (policy === "mrenclave") return same[0] ?? null
  const opens = (kept: KeptImage) => kept.mrsigner === mrsigner && kept.isvProdId === isvProdId && kept.isvSvn >= isvSvn
  return same.find(opens) ?? keptImages(places).find(opens) ?? null
}

/** `null`: what is there is no image, or another. Throws the system's errors. */
export function readKept({
  mrenclave,
  folder,
  sigstruct,
}: KeptImage): { readonly image: EnclaveImage; readonly sigstruct: Uint8Array } | null {
  try {
    const conf = parseConf(readFileSync(join(folder, FILES.conf), "utf8"))
    const image = parseImage(readFileSync(join(folder, FILES.image)), conf)
    const measured = toHex(measureImage(image, newSha256).mrenclave)
    return measured === mrenclave ? { image, sigstruct: readFileSync(join(folder, sigstruct)) } : null
  } catch (error) {
    if (error instanceof TresorError) return null
    throw error
  }
}

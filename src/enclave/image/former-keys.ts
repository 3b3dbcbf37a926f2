/**
 * Signing keys that earlier versions made and left: signer.pem in the state directory, or in enclave/ of a checkout. Who
 * reads one can sign an image that opens every keyslot sealed for its signer. So each signs once more, the image that was
 * just built, which is kept for the succession of those keyslots (docs/decisions/0066), and is removed.
 */
import { existsSync, readFileSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { keepImage } from "../kept-images.ts"
import { stateDir } from "../machine-secret.ts"
import { signingDate } from "./build.ts"
import { parseConf } from "./conf.ts"
import { parseImage } from "./elf.ts"
import { PRODUCT, VECTORS } from "./files.ts"
import { loadSigner, newSha256, signWith } from "./keys.ts"
import { measureImage } from "./sgxs.ts"
import { parseSigstruct, prepare, SIGSTRUCT_SIZE } from "./sigstruct.ts"

const NAME = "signer.pem"

/** Of this user: root leaves those of others to them, who have the volumes. */
export function formerKeys(root: string): readonly string[] {
  return [join(stateDir(), NAME), join(root, "enclave", NAME)].filter(
    (path) => existsSync(path) && statSync(path).uid === process.getuid!(),
  )
}

/** The keys that are gone now. Throws as loadSigner, and the system's errors; then the key is still there. */
export function retireKeys(root: string): readonly string[] {
  const keys = formerKeys(root)
  for (const path of keys) {
    const image = readFileSync(join(root, PRODUCT.image))
    const conf = readFileSync(join(root, PRODUCT.conf), "utf8")
    const parsed = parseConf(conf)
    const { mrenclave } = measureImage(parseImage(image, parsed), newSha256)
    const unsigned = prepare({ mrenclave, conf: parsed, date: signingDate(), debug: false })
    const sigstruct = signWith(loadSigner(path), unsigned)
    keepImage(stateDir(), { image, conf, sigstruct }, true)
    for (const files of [PRODUCT, VECTORS]) dropSignature(join(root, files.sigstruct), sigstruct)
    rmSync(path)
  }
  return keys
}

/** If it is by the same key as `sigstruct`. */
function dropSignature(path: string, sigstruct: Uint8Array): void {
  if (!existsSync(path)) return
  const found = readFileSync(path)
  if (found.length !== SIGSTRUCT_SIZE) return
  const signerOf = (bytes: Uint8Array) => parseSigstruct(bytes, newSha256).mrsigner
  if (signerOf(found) === signerOf(sigstruct)) rmSync(path)
}

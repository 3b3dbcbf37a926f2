/** What the machine needs besides this checkout: an image written down for host.c, and installations that differ. */
import { generateKeyPairSync, randomBytes } from "node:crypto"
import { mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { build } from "esbuild"
import { replaceFile } from "../../src/base/replace-file.ts"
import { PRODUCT } from "../../src/enclave/image/files.ts"
import { real } from "../../src/testing/real-image.ts"
import { anotherVersion } from "../cli/another-version.ts"
import { copyInstallation } from "../cli/installation.ts"
import { buildModules } from "../vm/checks.ts"
import { stockKernel } from "../vm/kernels.ts"
import { root, run } from "../vm/machine.ts"
import { guard } from "./memory.ts"

/** contract.ts as one file: reading hundreds takes a minute in the machine. */
async function bundleContract(path: string): Promise<void> {
  await build({
    entryPoints: [join(root, "test/sgx/contract.ts")],
    outfile: path,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    logLevel: "warning",
  })
}

/** The product's image and its SIGSTRUCT, as host.c reads them. */
function writeImage(path: string): void {
  const { image, mrenclave, sigstruct } = real()
  const numbers = (...values: readonly (number | bigint)[]): Buffer => {
    const bytes = Buffer.alloc(8 * values.length)
    for (const [i, value] of values.entries()) bytes.writeBigUInt64LE(BigInt(value), 8 * i)
    return bytes
  }
  const { size, ssaFrameSize, miscSelect, attributes, xfrm, encluSite, segments } = image
  const dynamic = image.dynamic ?? { offset: 0, size: 0 }
  const head = [size, ssaFrameSize, miscSelect, attributes, xfrm, encluSite, dynamic.offset, dynamic.size] as const
  const parts = segments.flatMap(({ offset, size, data, secinfoFlags, measured }) => [
    numbers(offset, size, data.length, secinfoFlags, measured ? 1 : 0),
    data,
  ])
  // Another test file's machine may be reading the one that is there.
  replaceFile(path, Buffer.concat([numbers(...head, segments.length), mrenclave, sigstruct, ...parts]), 0o644)
}

/** An installation beside the checkout's whose enclave is signed for debugging; returns its folder. */
function debugInstallation(folder: string): string {
  rmSync(folder, { recursive: true, force: true })
  copyInstallation(folder)
  const key = join(folder, "key.pem")
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 3072, publicExponent: 3 })
  writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }))
  const words = ["--conf", join(folder, PRODUCT.conf), "--key", key, "--debug"]
  run(join(root, "tresor"), ["enclave", "sign", join(folder, PRODUCT.image), ...words])
  return folder
}

/** A volume as any LUKS2 volume may be, whose key the host chose; in the folder, with its passphrase. Returns the key. */
function guardedVolume(folder: string): Buffer {
  const key = randomBytes(64)
  const keyFile = join(folder, "guarded.key")
  const image = join(folder, "guarded.img")
  const passphrase = join(folder, "guarded.pass")
  writeFileSync(keyFile, key)
  writeFileSync(passphrase, "a passphrase of no account")
  rmSync(image, { force: true })
  writeFileSync(image, "")
  truncateSync(image, 32 << 20)
  const kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
  const how = ["--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512", ...kdf]
  run("cryptsetup", ["luksFormat", "-q", ...how, "--volume-key-file", keyFile, image, passphrase])
  rmSync(keyFile)
  return key
}

const given = join(root, "build/sgx/given")

/** What every boot may look for; returns the words that tell guest.sh where it is. */
export async function prepare(): Promise<string> {
  mkdirSync(given, { recursive: true })
  // Test files run side by side.
  run("flock", [join(given, "lock"), "node", join(root, "scripts/build.mjs")])
  run("flock", [join(given, "lock"), "make", "-s", "-C", given, "-f", join(import.meta.dirname, "Makefile")])
  writeImage(join(given, "image.bin"))
  return `tresor.given=${given}`
}

/** For the parts succession, refusals and contract: what one boot uses at a time. */
export async function prepareOthers(): Promise<void> {
  await anotherVersion(join(given, "before"))
  debugInstallation(join(given, "debug"))
  await bundleContract(join(given, "contract.mjs"))
}

/** For the part memory. */
export const prepareMemory = (): void => guard(guardedVolume(given))

/** For the parts module and paging: tresor.ko. */
export const prepareModule = (): string => buildModules(stockKernel())

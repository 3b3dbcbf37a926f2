/** RSA keys of the tests: a key of 3072 bits takes OpenSSL up to seconds, so each is made once and kept in build/. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto"
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { installationRoot } from "../base/installation.ts"

const folder = join(installationRoot, "build/test-keys")

/** The key of that number; keys of different numbers differ. */
export function testKey(number = 0, { bits = 3072, exponent = 3 } = {}): KeyObject {
  const path = join(folder, `rsa-${bits}-${exponent}-${number}.pem`)
  if (!existsSync(path)) {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: bits, publicExponent: exponent })
    mkdirSync(folder, { recursive: true })
    const fresh = `${path}.${process.pid}`
    writeFileSync(fresh, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 })
    try {
      linkSync(fresh, path)
    } catch (error) {
      // Another test file made it meanwhile.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
    } finally {
      rmSync(fresh)
    }
  }
  return createPrivateKey(readFileSync(path))
}

/**
 * Quotes of the software backend, for tests and for trying the commands on a
 * machine without SGX. Same format, a root of this machine's own, and always
 * DEBUG: they prove nothing, and no production policy accepts them.
 */
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { REPORT_BODY_SIZE } from "../../abi/sgx.ts"
import { Exit, TresorError } from "../../base/errors.ts"
import { makeFile } from "../../base/replace-file.ts"
import { viewOf } from "../judge/bytes.ts"
import { ReportFlag } from "../judge/quote.ts"
import { SOFTWARE_ROOT_NAME } from "../judge/verify.ts"
import { type KeyPair, makePlatform, newKey, platformSpec } from "./platform.ts"

const KEY_FILE = "attestation-test-root.jwk"
const P256 = { name: "ECDSA", namedCurve: "P-256" } as const
const DAY_MS = 86_400_000

export interface SoftwareQuote {
  readonly quote: Uint8Array
  /** Collateral as one JSON object; `--collateral` takes it as a file. */
  readonly collateral: string
  /** PEM; `--root` takes it. */
  readonly root: string
}

/** This machine's test root key, made on first use. Of two makers one wins. */
async function rootKey(stateDir: string): Promise<KeyPair> {
  const path = join(stateDir, KEY_FILE)
  const read = async (): Promise<KeyPair | null> => {
    let text: string
    try {
      text = readFileSync(path, "utf8")
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null
      throw error
    }
    try {
      const jwk = JSON.parse(text) as Record<"kty" | "crv" | "x" | "y" | "d", string>
      const { kty, crv, x, y } = jwk
      return {
        privateKey: await crypto.subtle.importKey("jwk", jwk, P256, false, ["sign"]),
        publicKey: await crypto.subtle.importKey("jwk", { kty, crv, x, y }, P256, true, ["verify"]),
      }
    } catch (cause) {
      throw new TresorError(
        "ATTEST_BAD_TEST_ROOT",
        Exit.wrongDevice,
        `Cannot use the test root ${path}: it is damaged; remove it to get a new one`,
        { cause },
      )
    }
  }
  const found = await read()
  if (found !== null) return found
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const pair = await newKey()
  const { kty, crv, x, y, d } = await crypto.subtle.exportKey("jwk", pair.privateKey)
  makeFile(path, JSON.stringify({ kty, crv, x, y, d }))
  return (await read())!
}

/**
 * `report` is what the software backend's EREPORT gave (432 bytes, or its
 * body). It is not checked: whoever runs the software backend holds the
 * machine secret anyway.
 */
export async function softwareQuote(report: Uint8Array, stateDir: string, now: Date): Promise<SoftwareQuote> {
  if (report.length < REPORT_BODY_SIZE) throw new RangeError(`a report has 432 bytes, not ${report.length}`)
  // Certificates count whole seconds, and clocks differ a little.
  const issued = new Date(Math.floor(now.getTime() / 1000) * 1000 - 3_600_000)
  const spec = platformSpec(SOFTWARE_ROOT_NAME, issued, new Date(issued.getTime() + 30 * DAY_MS))
  const platform = await makePlatform(spec, await rootKey(stateDir))
  const body = Uint8Array.from(report.subarray(0, REPORT_BODY_SIZE))
  const view = viewOf(body)
  view.setBigUint64(48, view.getBigUint64(48, true) | ReportFlag.debug, true)
  return {
    quote: await platform.quote(body),
    collateral: `${JSON.stringify(platform.bundle, null, 2)}\n`,
    root: platform.rootCertificate,
  }
}

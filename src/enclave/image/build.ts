/** Build steps of a linked enclave: measure it, sign it, compare it with the pinned measurement. */
import { execFileSync } from "node:child_process"
import type { KeyObject } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Exit, TresorError } from "../../base/errors.ts"
import { toHex } from "../../base/hex.ts"
import { searchPath } from "../../base/programs.ts"
import { replaceFile } from "../../base/replace-file.ts"
import { type EnclaveConf, parseConf } from "./conf.ts"
import { parseImage } from "./elf.ts"
import { PRODUCT } from "./files.ts"
import { newSha256, signWith, throwAwayKey } from "./keys.ts"
import { type Measurement, measureImage } from "./sgxs.ts"
import { checkSigstruct, prepare, SIGSTRUCT_SIZE, signedBytes } from "./sigstruct.ts"

export interface Build {
  readonly conf: EnclaveConf
  readonly measurement: Measurement
}

/** Reads what was built below `root`. */
export function measureBuild(root: string, files = PRODUCT): Build {
  const conf = parseConf(readFileSync(join(root, files.conf), "utf8"))
  const image = parseImage(readFileSync(join(root, files.image)), conf)
  return { conf, measurement: measureImage(image, newSha256) }
}

/** Today, or the day SOURCE_DATE_EPOCH names, as YYYYMMDD. */
export function signingDate(): string {
  const epoch = process.env["SOURCE_DATE_EPOCH"]
  const date = epoch !== undefined && /^\d{1,11}$/.test(epoch) ? new Date(Number(epoch) * 1000) : new Date()
  return date.toISOString().slice(0, 10).replaceAll("-", "")
}

/**
 * Brings the SIGSTRUCT up to date with the image. A valid one stays, whoever signed it: a release's, or that of the last
 * build. `newKey` makes the key, which is used here and kept nowhere (docs/decisions/0066).
 */
export function signBuild(
  root: string,
  files = PRODUCT,
  newKey: () => KeyObject = throwAwayKey,
): Build & { readonly mrenclave: string; readonly signed: boolean } {
  const { conf, measurement } = measureBuild(root, files)
  const mrenclave = toHex(measurement.mrenclave)
  const path = join(root, files.sigstruct)
  const unsigned = prepare({ mrenclave: measurement.mrenclave, conf, date: signingDate(), debug: false })
  if (existsSync(path) && isCurrent(readFileSync(path), unsigned)) {
    return { conf, measurement, mrenclave, signed: false }
  }
  replaceFile(path, signWith(newKey(), unsigned), 0o644)
  return { conf, measurement, mrenclave, signed: true }
}

/** True when `found` is valid and says what `wanted` says; its date may differ. */
function isCurrent(found: Uint8Array, wanted: Uint8Array): boolean {
  if (found.length !== SIGSTRUCT_SIZE) return false
  const undated = (bytes: Uint8Array): string => {
    const fields = signedBytes(bytes)
    fields.fill(0, 20, 24)
    return toHex(fields)
  }
  return undated(found) === undated(wanted) && checkSigstruct(found, newSha256).every((check) => check.passed)
}

/** First line of the compiler's --version: the same source gives the same image only under the same compiler. */
export function compilerId(): string {
  const compiler = process.env["CC"] ?? "gcc"
  // The one that make finds, whosever it is.
  try {
    return execFileSync(compiler, ["--version"], {
      encoding: "utf8",
      env: { ...process.env, PATH: searchPath(undefined, false) },
    })
      .split("\n")[0]!
      .trim()
  } catch (cause) {
    throw new TresorError(
      "IMAGE_NO_COMPILER",
      Exit.wrongDevice,
      `Cannot tell which measurement is pinned: ${compiler} does not run; install gcc`,
      { cause },
    )
  }
}

/** Lines "<compiler id> <64 hex digits>"; # starts a comment. */
export function parsePins(text: string): ReadonlyMap<string, string> {
  const pins = new Map<string, string>()
  for (const line of text.split("\n")) {
    const content = line.replace(/#.*/, "").trim()
    if (content === "") continue
    const match = /^(.+?)\s+([0-9a-f]{64})$/.exec(content)
    if (match === null) {
      throw new TresorError(
        "IMAGE_BAD_PIN",
        Exit.wrongDevice,
        `Cannot read the pinned MRENCLAVE: bad line "${content}"`,
      )
    }
    pins.set(match[1]!, match[2]!)
  }
  return pins
}

export interface Pinned {
  readonly compiler: string
  /** `null`: nothing is pinned for this compiler. */
  readonly pinned: string | null
  readonly measured: string
}

/** Compares the built image with what its MRENCLAVE file says for the compiler at hand. */
export function checkPinned(root: string, files = PRODUCT): Pinned {
  const compiler = compilerId()
  const pins = parsePins(readFileSync(join(root, files.pins), "utf8"))
  return {
    compiler,
    pinned: pins.get(compiler) ?? null,
    measured: toHex(measureBuild(root, files).measurement.mrenclave),
  }
}

/**
 * `tresor enclave info|measure|sign|verify`, without the command-line parser:
 * options in, one result out. Errors that are not a verdict are TresorErrors.
 */
import { execFile } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, sep } from "node:path"
import { promisify } from "node:util"
import { exitOfErrno } from "../base/errno.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { toHex } from "../base/hex.ts"
import { searchPath } from "../base/programs.ts"
import { replaceFile } from "../base/replace-file.ts"
import { compilerId, measureBuild, signingDate } from "../enclave/image/build.ts"
import { Attribute, type EnclaveConf, parseConf } from "../enclave/image/conf.ts"
import { type EnclaveImage, isElf, parseImage } from "../enclave/image/elf.ts"
import { loadModulus, loadSigner, modulusOf, newSha256, signBytes } from "../enclave/image/keys.ts"
import { isSgxs, type Measurement, measureImage, measureSgxs } from "../enclave/image/sgxs.ts"
import {
  attach,
  checkSigstruct,
  type EinitCheck,
  isSigstruct,
  parseSigstruct,
  prepare,
  type Secs,
  SIGSTRUCT_SIZE,
  signedBytes,
} from "../enclave/image/sigstruct.ts"
import type { CommandResult } from "./result.ts"

interface Enclave {
  readonly format: "elf" | "sgxs"
  readonly measurement: Measurement
  /** ELF only. */
  readonly image: EnclaveImage | null
  /** An .sgxs has none unless one was named. */
  readonly conf: EnclaveConf | null
}

function read(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const fact = code === "ENOENT" ? "no such file" : (cause as Error).message
    throw new TresorError("IMAGE_UNREADABLE", exitOfErrno(code, Exit.wrongDevice), `Cannot read ${path}: ${fact}`, {
      cause,
    })
  }
}

/** The named file, else enclave.conf beside the image or one folder up (enclave/build/tresor.elf). */
function readConf(image: string, named: string | undefined): EnclaveConf {
  const candidates = [join(dirname(image), "enclave.conf"), join(dirname(image), "../enclave.conf")]
  const path = named ?? candidates.find((candidate) => existsSync(candidate))
  if (path === undefined) {
    throw new TresorError(
      "IMAGE_NO_CONF",
      Exit.badArguments,
      `Cannot use ${image}: no enclave.conf beside it or in a parent directory; name one with --conf`,
    )
  }
  return parseConf(new TextDecoder().decode(read(path)))
}

function readEnclave(path: string, confPath: string | undefined): Enclave {
  const bytes = read(path)
  if (isElf(bytes)) {
    const conf = readConf(path, confPath)
    const image = parseImage(bytes, conf)
    return { format: "elf", measurement: measureImage(image, newSha256), image, conf }
  }
  if (isSgxs(bytes)) {
    const conf = confPath === undefined ? null : readConf(path, confPath)
    return { format: "sgxs", measurement: measureSgxs(bytes, newSha256), image: null, conf }
  }
  throw new TresorError(
    "IMAGE_UNKNOWN",
    Exit.wrongDevice,
    `Cannot measure ${path}: it is neither an ELF image nor an SGXS stream`,
  )
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`

function describe({ format, measurement, image }: Enclave) {
  return {
    format,
    mrenclave: toHex(measurement.mrenclave),
    size: measurement.size,
    pages: measurement.pages,
    heap: measurement.heap,
    dynamicHeap: image?.dynamic?.size ?? 0,
    threads: measurement.threads,
    ssaFrameSize: measurement.ssaFrameSize,
  }
}

export interface ImageOptions {
  readonly file: string
  /** enclave.conf of an ELF image. */
  readonly conf?: string | undefined
}

/** `tresor enclave measure FILE [--conf F] [--json]` */
export function measure({ file, conf }: ImageOptions): CommandResult {
  const json = describe(readEnclave(file, conf))
  return { exitCode: 0, json, lines: [json.mrenclave] }
}

function describeSigstruct(bytes: Uint8Array) {
  const fields = parseSigstruct(bytes, newSha256)
  return {
    format: "sigstruct",
    mrenclave: fields.mrenclave,
    mrsigner: fields.mrsigner,
    isvProdId: fields.isvProdId,
    isvSvn: fields.isvSvn,
    date: fields.date,
    vendor: hex(fields.vendor),
    swDefined: hex(fields.swDefined),
    debug: fields.debug,
    attributes: hex(fields.attributes),
    attributeMask: hex(fields.attributeMask),
    xfrm: hex(fields.xfrm),
    xfrmMask: hex(fields.xfrmMask),
    miscSelect: hex(fields.miscSelect),
    miscMask: hex(fields.miscMask),
  }
}

/** `tresor enclave info FILE`: an ELF image, an .sgxs stream or a SIGSTRUCT. */
export function info({ file, conf }: ImageOptions): CommandResult {
  const bytes = read(file)
  if (isSigstruct(bytes)) {
    const json = describeSigstruct(bytes)
    return { exitCode: 0, json, lines: Object.entries(json).map(([name, value]) => `${name.padEnd(16)}${value}`) }
  }
  const enclave = readEnclave(file, conf)
  const { image } = enclave
  const segments = (image?.segments ?? []).map(({ offset, size, secinfoFlags, measured, kind }) => ({
    offset,
    size,
    kind,
    permissions: `${secinfoFlags & 1 ? "r" : "-"}${secinfoFlags & 2 ? "w" : "-"}${secinfoFlags & 4 ? "x" : "-"}`,
    measured,
  }))
  const summary = describe(enclave)
  return {
    exitCode: 0,
    json: image === null ? summary : { ...summary, encluSite: image.encluSite, segments },
    lines: [
      ...Object.entries(summary).map(([name, value]) => `${name.padEnd(16)}${value}`),
      ...segments.map(
        (s) =>
          `${hex(s.offset).padStart(12)} ${hex(s.size).padStart(12)} ${s.kind.padEnd(5)}${s.permissions}${s.measured ? "" : " not measured"}`,
      ),
    ],
  }
}

export interface SignOptions extends ImageOptions {
  /** Private key; with `attach` the public key will do. PEM. */
  readonly key?: string | undefined
  readonly out?: string | undefined
  readonly debug?: boolean | undefined
  /** YYYYMMDD. */
  readonly date?: string | undefined
  /** Write the bytes to be signed instead of a SIGSTRUCT. */
  readonly prepare?: boolean | undefined
  /** File with the signature over the prepared bytes, big-endian. */
  readonly attach?: string | undefined
  /** With `attach`: the file that --prepare wrote. */
  readonly prepared?: string | undefined
}

/** `tresor enclave sign IMAGE --key F [--out F] [--debug] [--date D]`, or in two steps with --prepare and --attach. */
export function sign(options: SignOptions): CommandResult {
  const { file } = options
  const bad = (fact: string): TresorError =>
    new TresorError("IMAGE_BAD_OPTIONS", Exit.badArguments, `Cannot sign ${file}: ${fact}`)
  if (options.prepare && options.attach !== undefined) throw bad("--prepare and --attach are two steps")
  const enclave = readEnclave(file, options.conf)
  const { mrenclave } = enclave.measurement
  const stem = file.replace(/\.(elf|sgxs)$/, "")
  const toSign = `${stem}.tosign`

  if (options.attach !== undefined) {
    if (options.key === undefined) throw bad("--attach needs --key with the public key")
    if (options.date !== undefined || options.debug) throw bad("--date and --debug were settled by --prepare")
    const signed = read(options.prepared ?? toSign)
    if (signed.length !== 256) throw bad(`the prepared file has ${signed.length} bytes, not 256`)
    const unsigned = new Uint8Array(SIGSTRUCT_SIZE)
    unsigned.set(signed.subarray(0, 128), 0)
    unsigned[512] = 3
    unsigned.set(signed.subarray(128), 900)
    const prepared = parseSigstruct(unsigned, newSha256).mrenclave
    if (prepared !== toHex(mrenclave)) throw bad(`it measures ${toHex(mrenclave)} but ${prepared} was prepared`)
    return write(
      options.out ?? `${stem}.sigstruct`,
      attach(unsigned, loadModulus(options.key), read(options.attach), newSha256),
    )
  }

  const conf = enclave.conf ?? readConf(file, options.conf)
  const unsigned = prepare({ mrenclave, conf, date: options.date ?? signingDate(), debug: options.debug ?? false })
  if (options.prepare) {
    const out = options.out ?? toSign
    replaceFile(out, signedBytes(unsigned), 0o644)
    return {
      exitCode: 0,
      json: { out, mrenclave: toHex(mrenclave) },
      lines: [`${out}: sign these 256 bytes with RSASSA-PKCS1-v1_5 and SHA-256, then use --attach`],
    }
  }
  if (options.key === undefined) throw bad("--key is missing (or use --prepare)")
  const key = loadSigner(options.key)
  const signature = signBytes(key, signedBytes(unsigned))
  return write(options.out ?? `${stem}.sigstruct`, attach(unsigned, modulusOf(key), signature, newSha256))
}

function write(out: string, sigstruct: Uint8Array): CommandResult {
  replaceFile(out, sigstruct, 0o644)
  const { mrenclave, mrsigner, debug } = describeSigstruct(sigstruct)
  return {
    exitCode: 0,
    json: { out, mrenclave, mrsigner, debug },
    lines: [`MRENCLAVE ${mrenclave}`, `MRSIGNER  ${mrsigner}${debug ? "  (DEBUG)" : ""}`],
  }
}

export interface ImageVerification {
  readonly sigstruct?: string | undefined
  readonly image?: string | undefined
  readonly conf?: string | undefined
}

/** `tresor enclave verify --sigstruct F [--image F]`: exit 0 when EINIT would accept it, else 1 naming the check. */
export function verify(options: ImageVerification & { readonly sigstruct: string }): CommandResult {
  const bytes = read(options.sigstruct)
  const enclave = options.image === undefined ? null : readEnclave(options.image, options.conf)
  const checks = checkSigstruct(bytes, newSha256, enclave === null ? null : secsOf(enclave, bytes))
  const failed = checks.find((check) => !check.passed) ?? null
  return {
    exitCode: failed === null ? 0 : Exit.badArguments,
    verdict: failed === null ? "good" : "bad",
    json: {
      valid: failed === null,
      failed: failed?.name ?? null,
      reason: failed?.fact ?? null,
      ...describeSigstruct(bytes),
      checks: checks.map(({ name, passed, fact, error }: EinitCheck) =>
        passed ? { name, passed } : { name, passed, fact, error },
      ),
    },
    lines: [
      failed === null
        ? `${options.sigstruct}: valid${enclave === null ? "" : ` for ${options.image}`}`
        : `${options.sigstruct}: refused by the ${failed.name} check (EINIT error ${failed.error}): ${failed.fact}`,
    ],
  }
}

/** The SECS our loader would create. Without a configuration only the hash can disagree. */
function secsOf({ measurement, conf }: Enclave, sigstruct: Uint8Array): Secs {
  const signed = parseSigstruct(sigstruct, newSha256)
  const debug = signed.attributes & Attribute.debug
  return {
    mrenclave: measurement.mrenclave,
    attributes: conf === null ? signed.attributes & ~Attribute.einitTokenKey : conf.attributes | debug,
    xfrm: conf?.xfrm ?? signed.xfrm,
    miscSelect: conf?.miscSelect ?? signed.miscSelect,
  }
}

/**
 * `tresor enclave verify --source [--image F] [--sigstruct F]`: builds the
 * enclave of the checkout at `root` again, elsewhere, and compares what was
 * shipped with it.
 */
export async function verifySource(root: string, options: ImageVerification): Promise<CommandResult> {
  const image = options.image ?? join(root, "enclave/build/tresor.elf")
  const shipped = toHex(readEnclave(image, options.conf ?? join(root, "enclave/enclave.conf")).measurement.mrenclave)
  const compiler = compilerId()
  const folder = mkdtempSync(join(tmpdir(), "tresor-source-"))
  try {
    const keep = (path: string): boolean => !path.slice(root.length).startsWith(`${sep}enclave${sep}build`)
    for (const part of ["enclave", "abi"]) {
      cpSync(join(root, part), join(folder, part), { recursive: true, filter: keep })
    }
    try {
      await promisify(execFile)("make", ["-s", "-C", join(folder, "enclave")], {
        maxBuffer: 1 << 24,
        env: { ...process.env, PATH: searchPath(undefined, false) },
      })
    } catch (cause) {
      const { stderr } = cause as { readonly stderr?: string }
      const fact = (stderr ?? "").trim().split("\n").at(-1) || (cause as Error).message.split("\n")[0]
      throw new TresorError("IMAGE_BUILD_FAILED", Exit.wrongDevice, `Cannot build the enclave: ${fact}`, { cause })
    }
    const rebuilt = toHex(measureBuild(folder).measurement.mrenclave)
    const signed = options.sigstruct === undefined ? null : parseSigstruct(read(options.sigstruct), newSha256).mrenclave
    const matches = rebuilt === shipped && (signed === null || signed === rebuilt)
    return {
      exitCode: matches ? 0 : Exit.badArguments,
      verdict: matches ? "good" : "bad",
      json: { valid: matches, compiler, rebuilt, shipped, signed },
      lines: [
        matches
          ? `${image} is these sources: MRENCLAVE ${rebuilt}`
          : `${image} is not these sources under ${compiler}: they measure ${rebuilt}, it ${rebuilt === shipped ? `is signed as ${signed}` : `measures ${shipped}`}`,
      ],
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

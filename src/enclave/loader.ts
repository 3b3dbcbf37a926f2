/** From the files of the installation to a running enclave: ECREATE, EADD, EINIT, HELLO. */
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { release } from "node:os"
import type { Backend } from "../abi/enclave.ts"
import { Cpu } from "../abi/enclave.ts"
import { isErrorCode } from "../base/error-codes.ts"
import { Exit, TresorError } from "../base/errors.ts"
import { installed } from "../base/installation.ts"
import { cpuFeatures, createEnclave, type NativeEnclave, sgxCpu } from "../native/addon.ts"
import { EnclaveClient } from "./client.ts"
import { EnclaveError } from "./error.ts"
import { Attribute, parseConf } from "./image/conf.ts"
import { type EnclaveImage, parseImage } from "./image/elf.ts"
import { type ImageFiles, PRODUCT, VECTORS } from "./image/files.ts"
import { newSha256 } from "./image/keys.ts"
import { parseSigstruct, SIGSTRUCT_SIZE } from "./image/sigstruct.ts"
import { type ImageBytes, type KeptImage, keepImage, readKept } from "./kept-images.ts"
import { secretDir, stateDir, takeMachineSecret, takeOrExcuse } from "./machine-secret.ts"
import { isReleaseSigner } from "./release-signers.ts"
import { SECRET_SIZE } from "./sealed-secret.ts"
import { SGX_DEVICE, type SgxMachine, sgxState } from "./sgx-state.ts"
import { systemFiles } from "./system-files.ts"
import type { EnclaveStart } from "./types.ts"
import { VectorsClient } from "./vectors.ts"

/** This machine, as it is at the time of asking. */
const thisMachine: SgxMachine = {
  ...systemFiles,
  get sgxCpu() {
    return sgxCpu()
  },
  kernel: release(),
}

/** `auto`: the hardware where there is a device, though it may be refused: nothing gets less protection unasked. */
export function chooseBackend(wanted: Backend | "auto", machine = thisMachine): Backend {
  if (wanted !== "auto") return wanted
  return machine.exists(SGX_DEVICE) ? "sgx" : "software"
}

/**
 * Keeps the image for the time after an upgrade, unless nothing sealed is opened or made.
 * Throws TresorError: NOT_BUILT, TRANSITION_REAL, SGX_<CHECK>, MACHINE_SECRET_REFUSED, MACHINE_SECRET_LOCKED, TPM_<WHAT>,
 * ENCLAVE_<STATUS>.
 */
export async function openEnclave(options: EnclaveStart): Promise<EnclaveClient> {
  const backend = chooseBackend(options.backend)
  if (backend === "sgx" && (options.transitionCycles ?? 0) > 0) {
    throw new TresorError(
      "TRANSITION_REAL",
      Exit.badArguments,
      "Cannot model the cost of entries (sgx): the hardware's is real; use --backend software, or leave out --transition-cycles",
    )
  }
  const files = readImage(PRODUCT)
  // Before there is a secret, which `load` wipes.
  const loadable = parse(files)
  const machineSecret = backend === "software" ? await secretFor(options) : null
  const native = load(loadable, backend, machineSecret, options.transitionCycles)
  const client = await EnclaveClient.start(native, backend, options.cpu)
  if (options.sealsNothing !== true) keep(options.stateDir ?? stateDir(), files)
  return client
}

/** Where nothing can be written, the next upgrade has the recovery key. */
function keep(stateDir: string, files: ImageBytes): void {
  try {
    keepImage(stateDir, files, isReleaseSigner(parseSigstruct(files.sigstruct, newSha256).mrsigner))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
  }
}

/** An image that is kept, for a succession. `null`: it is damaged. Throws as openEnclave and startPredecessor do. */
export async function openPredecessor(
  image: KeptImage,
  options: Pick<EnclaveStart, "backend" | "stateDir">,
): Promise<EnclaveClient | null> {
  const backend = chooseBackend(options.backend)
  const kept = readKept(image)
  if (kept === null) return null
  const machineSecret = backend === "software" ? await secretFor(options) : null
  return startPredecessor(load(kept, backend, machineSecret), backend, image)
}

/** Owns `native` from now on. Throws TresorError PREDECESSOR_VERSION (exit 2), ENCLAVE_<STATUS>. */
export async function startPredecessor(
  native: NativeEnclave,
  backend: Backend,
  { mrenclave }: Pick<KeptImage, "mrenclave">,
): Promise<EnclaveClient> {
  try {
    return await EnclaveClient.start(native, backend)
  } catch (error) {
    // HELLO has one thing to refuse.
    if (!(error instanceof EnclaveError) || error.status !== "request") throw error
    throw new TresorError(
      "PREDECESSOR_VERSION",
      Exit.denied,
      `Cannot use the kept enclave ${mrenclave.slice(0, 16)}…: its interface is another version's; open the volume with ` +
        "the version of Tresor that has this enclave, or with the recovery key (`tresor recover`)",
      { cause: error },
    )
  }
}

/**
 * The image of the published vectors. It has nothing to unseal, so the software
 * backend gives it a machine secret of its own. Throws as openEnclave does.
 */
export async function openVectors(options: Pick<EnclaveStart, "backend" | "cpu">): Promise<VectorsClient> {
  const backend = chooseBackend(options.backend)
  const native = load(parse(readImage(VECTORS)), backend, backend === "software" ? randomBytes(SECRET_SIZE) : null)
  return VectorsClient.start(native, backend, options.cpu)
}

/**
 * The register state the enclave may use beyond x87 and SSE, of what its
 * SIGSTRUCT leaves open (XCR0 bits: AVX 2, AVX-512 5 to 7). Not part of the
 * seal key (abi/enclave.h, tresor_sealed_salt).
 */
function vectorState(features: number): bigint {
  return (features & Cpu.avx2 ? 0x4n : 0n) | (features & Cpu.vaes512 ? 0xe0n : 0n)
}

/** The bytes are the caller's, to be wiped. */
async function secretFor({ stateDir, sealsNothing = false, excuse }: EnclaveStart): Promise<Buffer> {
  const directory = stateDir ?? secretDir()
  try {
    return await (excuse === undefined ? takeMachineSecret(directory) : takeOrExcuse(directory, excuse))
  } catch (error) {
    if (!sealsNothing) throw error
    return randomBytes(SECRET_SIZE)
  }
}

interface Loadable {
  readonly image: EnclaveImage
  readonly sigstruct: Uint8Array
}

function readImage(files: ImageFiles): ImageBytes {
  return {
    image: readFileSync(installed(files.image)),
    conf: readFileSync(installed(files.conf), "utf8"),
    sigstruct: readFileSync(installed(files.sigstruct)),
  }
}

/** An image that is signed for debugging (`tresor enclave sign --debug`) starts as nothing else. */
function parse({ image, conf, sigstruct }: ImageBytes): Loadable {
  const parsed = parseImage(image, parseConf(conf))
  const wellSized = sigstruct.length === SIGSTRUCT_SIZE
  const debug = wellSized && parseSigstruct(sigstruct, newSha256).debug ? Attribute.debug : 0n
  return { image: { ...parsed, attributes: parsed.attributes | debug }, sigstruct }
}

/** Wipes `machineSecret`. */
function load(
  { image, sigstruct }: Loadable,
  backend: Backend,
  machineSecret: Buffer | null,
  transitionCycles = 0,
): NativeEnclave {
  let native: NativeEnclave | undefined
  try {
    native = createEnclave({
      backend,
      size: BigInt(image.size),
      ssaFrameSize: image.ssaFrameSize,
      miscSelect: image.miscSelect,
      attributes: image.attributes,
      xfrm: image.xfrm | vectorState(cpuFeatures()),
      transitionCycles,
      machineSecret,
    })
    for (const { offset, size, data, secinfoFlags, measured } of image.segments) {
      native.addPages(offset, size, data, secinfoFlags, measured)
    }
    if (image.dynamic !== null) native.reserve(image.dynamic.offset, image.dynamic.size)
    native.init(sigstruct, image.encluSite)
    return native
  } catch (error) {
    native?.destroy()
    throw explain(error, backend)
  } finally {
    machineSecret?.fill(0)
  }
}

/** Why the enclave did not start, and the way out. */
export function explain(error: unknown, backend: Backend, machine = thisMachine): TresorError {
  const { code: said, message } = error as NodeJS.ErrnoException
  const code = isErrorCode(said) ? said : "SGX_FAILED"
  const fail = (text: string) =>
    new TresorError(code, Exit.wrongDevice, `Cannot start the enclave (${backend}): ${text}`, { cause: error })
  if (backend === "software") return fail(`${message}; rebuild with \`npm run build\``)
  const { found, remedy } = sgxState(machine)
  if (code === "SGX_NO_DEVICE" && remedy !== null) return fail(`${found}; ${remedy}`)
  if (code === "SGX_NO_PERMISSION")
    return fail(`${message}; ${remedy ?? "let this container use it, or choose --backend software"}`)
  return fail(`${message}; \`tresor doctor\` explains what this machine offers`)
}

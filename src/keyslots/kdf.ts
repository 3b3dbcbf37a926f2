/**
 * KDF parameters of a keyslot: defaults, what people ask for, and
 * calibration by the enclave's own speed. Pure.
 */
import { KdfFloor } from "../abi/enclave.ts"
import { Exit, TresorError } from "../base/errors.ts"
import type { Kdf } from "../luks2/types.ts"

/** Milliseconds the KDF takes on this machine for an output of 32 bytes. */
export type Benchmark = (kdf: Kdf) => Promise<number>

export interface KdfRequest {
  readonly type: "argon2id" | "argon2i" | "pbkdf2"
  /** Most memory of Argon2, KiB; less where the machine has less, as with cryptsetup. */
  readonly memoryKib: number | null
  readonly lanes: number | null
  /** Instead of measuring. */
  readonly iterations: number | null
  /** Milliseconds to aim at; `null`: not measured for a tresor keyslot, 2000 for a portable one. */
  readonly timeMs: number | null
}

export interface KdfLimits {
  /** Most memory a KDF may have here, KiB. */
  readonly memoryKib: number
  readonly cpus: number
}

/** cryptsetup's: 2 s, 1 GiB, 4 lanes (configure.ac, luks_argon2*); minima of its crypt_pbkdf_get_limits. */
const TIME_MS = 2000
const MEMORY_KIB = 1 << 20
const LANES = 4
const LEAST = { argonTime: 4, argonMemoryKib: 32, pbkdf2Iterations: 1000 } as const
/** The format keeps them as json-c's int. */
const MOST_TIME = 0x7fff_ffff

/**
 * A tresor keyslot's default: RFC 9106, section 4, second recommended option.
 * The salt is sealed, so a stolen disk gives nothing to guess with; this is
 * the second line, and it is worth half a second at the prompt.
 */
const TRESOR_ARGON2 = { time: 3, memoryKib: 64 << 10, lanes: 4 } as const
const TRESOR_PBKDF2 = { hash: "sha256", iterations: 1_000_000 } as const

function checkForced(request: KdfRequest, least: number): void {
  if (request.iterations !== null && request.iterations < least) {
    throw new TresorError(
      "KDF_TOO_WEAK",
      Exit.badArguments,
      `Cannot use ${request.iterations} iterations of ${request.type}: cryptsetup's minimum is ${least}`,
    )
  }
}

/** What the enclave refuses to make a keyslot with. */
function checkFloor(kdf: Kdf): Kdf {
  const few =
    kdf.type === "pbkdf2" ? kdf.iterations < KdfFloor.iterations : kdf.time * kdf.memoryKib < KdfFloor.passesKib
  if (!few) return kdf
  throw new TresorError(
    "KDF_TOO_WEAK",
    Exit.badArguments,
    kdf.type === "pbkdf2"
      ? `Cannot use ${kdf.iterations} iterations of pbkdf2: the minimum is ${KdfFloor.iterations}`
      : `Cannot use ${kdf.time} passes of ${kdf.type} over ${kdf.memoryKib} KiB: ` +
          `the minimum of passes times KiB is ${KdfFloor.passesKib}`,
  )
}

/** KDF of a sealed keyslot: as asked for, else the default; measured only when a time is given. Throws KDF_TOO_WEAK (exit 1). */
export async function tresorKdf(request: KdfRequest, limits: KdfLimits, benchmark: Benchmark): Promise<Kdf> {
  return checkFloor(await chooseTresorKdf(request, limits, benchmark))
}

async function chooseTresorKdf(request: KdfRequest, limits: KdfLimits, benchmark: Benchmark): Promise<Kdf> {
  if (request.timeMs !== null && request.iterations === null)
    return calibrate(request, request.timeMs, limits, benchmark)
  if (request.type === "pbkdf2") {
    return { type: "pbkdf2", hash: TRESOR_PBKDF2.hash, iterations: request.iterations ?? TRESOR_PBKDF2.iterations }
  }
  return {
    type: request.type,
    time: request.iterations ?? TRESOR_ARGON2.time,
    memoryKib: Math.min(request.memoryKib ?? TRESOR_ARGON2.memoryKib, limits.memoryKib),
    lanes: request.lanes ?? TRESOR_ARGON2.lanes,
  }
}

/** KDF of a keyslot that cryptsetup opens: as cryptsetup would choose it. Throws KDF_TOO_WEAK (exit 1). */
export async function portableKdf(request: KdfRequest, limits: KdfLimits, benchmark: Benchmark): Promise<Kdf> {
  checkForced(request, request.type === "pbkdf2" ? LEAST.pbkdf2Iterations : LEAST.argonTime)
  if (request.iterations === null) return calibrate(request, request.timeMs ?? TIME_MS, limits, benchmark)
  if (request.type === "pbkdf2") return { type: "pbkdf2", hash: "sha256", iterations: request.iterations }
  return {
    type: request.type,
    time: request.iterations,
    memoryKib: mostMemory(request, limits),
    lanes: lanesOf(request, limits),
  }
}

const lanesOf = (request: KdfRequest, limits: KdfLimits) => request.lanes ?? Math.max(1, Math.min(LANES, limits.cpus))

function mostMemory(request: KdfRequest, limits: KdfLimits): number {
  const most = Math.min(request.memoryKib ?? MEMORY_KIB, limits.memoryKib)
  return Math.max(most, LEAST.argonMemoryKib)
}

/** A measurement shorter than this says more about the machine's noise than about the KDF. */
const MEASURED_MS = 250
const clamp = (value: number, low: number, high: number) => Math.min(Math.max(Math.floor(value), low), high)

async function calibrate(request: KdfRequest, timeMs: number, limits: KdfLimits, benchmark: Benchmark): Promise<Kdf> {
  return request.type === "pbkdf2"
    ? calibratePbkdf2(timeMs, benchmark)
    : calibrateArgon2(request.type, timeMs, mostMemory(request, limits), lanesOf(request, limits), benchmark)
}

async function calibratePbkdf2(timeMs: number, benchmark: Benchmark): Promise<Kdf> {
  for (let iterations = 1 << 16; ; ) {
    const took = Math.max(await benchmark({ type: "pbkdf2", hash: "sha256", iterations }), 0.1)
    if (took >= Math.min(MEASURED_MS, timeMs) || iterations === MOST_TIME) {
      const wanted = clamp((iterations * timeMs) / took, LEAST.pbkdf2Iterations, MOST_TIME)
      return { type: "pbkdf2", hash: "sha256", iterations: wanted }
    }
    iterations = clamp((iterations * MEASURED_MS * 1.2) / took, iterations * 2, MOST_TIME)
  }
}

/**
 * Memory first, passes after: with the fewest passes, as much memory as the
 * time allows; passes are added only when the memory's limit is reached.
 */
async function calibrateArgon2(
  type: "argon2i" | "argon2id",
  timeMs: number,
  mostKib: number,
  lanes: number,
  benchmark: Benchmark,
): Promise<Kdf> {
  const leastKib = Math.min(Math.max(LEAST.argonMemoryKib, 8 * lanes), mostKib)
  const scaled = (work: number): Kdf => {
    const memoryKib = clamp(work / LEAST.argonTime, leastKib, mostKib)
    return { type, lanes, memoryKib, time: clamp(work / memoryKib, LEAST.argonTime, MOST_TIME) }
  }
  /** KiB times passes. */
  let work = Math.min(32 << 10, mostKib) * LEAST.argonTime
  for (;;) {
    const kdf = scaled(work)
    const took = Math.max(await benchmark(kdf), 0.1)
    const done = kdf.type === "pbkdf2" ? work : kdf.memoryKib * kdf.time
    if (took >= Math.min(MEASURED_MS, timeMs)) return scaled((done * timeMs) / took)
    work = Math.max((done * MEASURED_MS * 1.2) / took, done * 2)
  }
}

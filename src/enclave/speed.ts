/** Measures an enclave's speed with a throw-away key; nothing is stored. */
import { randomBytes, randomUUID } from "node:crypto"
import type { KeyslotParameters, Segment } from "../luks2/types.ts"
import { type Asked, bindingOf } from "./asked.ts"
import { sealRequest } from "./seal-request.ts"
import type { Enclave, VolumeHandle } from "./types.ts"

const KEYSLOT: KeyslotParameters = {
  slot: 0,
  kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000 },
  afHash: "sha256",
  areaKeySize: 64,
  keySize: 64,
  areaOffset: 32768n,
  areaSize: 258048n,
  passphraseKdf: null,
}

/** Done in place, as `openssl speed` does; stays in a core's L2 cache. */
const CHUNK = 256 << 10

/** Passes over it in one entry: naming a range takes 0.5 us in JavaScript, the cipher is to be measured. */
const PASSES = 32

/** A volume key that exists only until `closeVolume`: made and opened with a random passphrase. */
async function scratchKey(enclave: Enclave, sectorSize: Segment["sectorSize"]): Promise<VolumeHandle> {
  const uuid = randomUUID()
  const passphrase = randomBytes(32)
  const seal = async (asked: Asked, secrets: object) => {
    const nonce = await enclave.challenge(asked.purpose)
    return sealRequest(enclave.identity.publicKey, { ...(await bindingOf(asked)), nonce }, secrets)
  }
  const segment: Segment = {
    cipher: "aes-xts-plain64",
    sectorSize,
    keySize: 64,
    offset: 16n << 20n,
    size: null,
    ivTweak: 0n,
  }
  try {
    const wanted = { uuid, segment, digest: { hash: "sha256", iterations: 1000 } } as const
    const asked = { purpose: "create", ...wanted, fresh: KEYSLOT, policy: "mrsigner" } as const
    const sealed = await seal(asked, { fresh: passphrase })
    const { digest, keyslot, macs } = await enclave.create(sealed, wanted, KEYSLOT, "mrsigner")
    const header = { uuid, segment, digest, keyslots: [{ ...KEYSLOT, ...keyslot, tried: true }], macs }
    const request = await seal({ purpose: "unlock", header, slot: null }, { existing: passphrase })
    return (await enclave.unlock(request, header)).handle
  } finally {
    passphrase.fill(0)
  }
}

/** Calls between looks at the clock. */
const BATCH = 4

/** Calls `once` for about `milliseconds`; calls a second. */
function rate(milliseconds: number, once: () => void): number {
  for (let i = 0; i < BATCH; i++) once()
  const started = performance.now()
  let calls = 0
  let elapsed = 0
  do {
    for (let i = 0; i < BATCH; i++) once()
    calls += BATCH
    elapsed = performance.now() - started
  } while (elapsed < milliseconds)
  return (calls * 1000) / elapsed
}

/** AES-256-XTS on one core, 8 MiB an entry; bytes a second. */
export async function xtsSpeed(
  enclave: Enclave,
  sectorSize: Segment["sectorSize"],
  decrypt: boolean,
  milliseconds: number,
): Promise<number> {
  const handle = await scratchKey(enclave, sectorSize)
  try {
    const bytes = new Uint8Array(CHUNK)
    const range = { input: bytes, output: bytes, sector: 0n }
    const ranges = new Array<typeof range>(PASSES).fill(range)
    return PASSES * CHUNK * rate(milliseconds, () => enclave.sectors(handle, decrypt, ranges))
  } finally {
    enclave.closeVolume(handle)
  }
}

/** Entries a second that do next to nothing: one 512-byte sector, from JavaScript and back. */
export async function entryRate(enclave: Enclave, milliseconds: number): Promise<number> {
  const handle = await scratchKey(enclave, 512)
  try {
    const ranges = [{ input: new Uint8Array(512), output: new Uint8Array(512), sector: 0n }]
    return rate(milliseconds, () => enclave.sectors(handle, true, ranges))
  } finally {
    enclave.closeVolume(handle)
  }
}

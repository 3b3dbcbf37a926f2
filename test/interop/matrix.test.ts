/**
 * Every combination of who made a volume and how, opened by the other side
 * with one header copy broken. cryptsetup judges ours; node:crypto with the
 * volume key cryptsetup dumps judges the data in both directions.
 */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from "node:crypto"
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { bindingOf } from "../../src/enclave/asked.ts"
import { openEnclave } from "../../src/enclave/loader.ts"
import { sealRequest } from "../../src/enclave/seal-request.ts"
import type { Enclave, VolumeHandle } from "../../src/enclave/types.ts"
import { HeaderStore } from "../../src/header/header-store.ts"
import { openFile } from "../../src/header/open.ts"
import { makeVolume, writeVolume } from "../../src/keyslots/create.ts"
import type { FreshKeyslot, Seal } from "../../src/keyslots/parts.ts"
import type { Kdf, Segment } from "../../src/luks2/types.ts"
import { enclaveHeader } from "../../src/luks2/volume-header.ts"

interface Cell {
  readonly kdf: "pbkdf2" | "argon2i" | "argon2id"
  readonly bits: 256 | 512
  readonly sectorSize: Segment["sectorSize"]
  readonly slots: 1 | 32
  readonly headerSize: number
  readonly detached: boolean
}

const folder = mkdtempSync(join(tmpdir(), "tresor-interop-"))
const plaintext = randomBytes(16384)
const first = Buffer.from("the first \0passphrase")
const last = Buffer.from("the last\npassphrase")
const keyFiles = { first: join(folder, "first"), last: join(folder, "last") }
let enclave: Enclave

before(async () => {
  writeFileSync(keyFiles.first, first)
  writeFileSync(keyFiles.last, last)
  enclave = await openEnclave({ backend: "software", stateDir: join(folder, "state") })
})

after(async () => {
  await enclave?.close()
  rmSync(folder, { recursive: true })
})

const seal: Seal = async (asked, secrets) => {
  const nonce = await enclave.challenge(asked.purpose)
  return sealRequest(enclave.identity.publicKey, { ...(await bindingOf(asked)), nonce }, secrets)
}

function cryptsetup(...args: string[]): void {
  const done = spawnSync("cryptsetup", ["-q", ...args], { encoding: "utf8" })
  assert.equal(done.status, 0, `cryptsetup ${args[0]}: ${done.stderr}`)
}

/** One volume's files; data and header are the same file unless detached. */
class Files {
  readonly data: string
  readonly header: string
  readonly #cell: Cell

  constructor(cell: Cell, name: string) {
    this.#cell = cell
    this.data = join(folder, `${name}.img`)
    this.header = cell.detached ? join(folder, `${name}.header`) : this.data
    for (const [path, size] of [
      [this.header, 24 << 20],
      [this.data, cell.detached ? 1 << 20 : 24 << 20],
    ] as const) {
      const fd = openSync(path, "w")
      ftruncateSync(fd, size)
      closeSync(fd)
    }
  }

  readAt(path: string, offset: number, length: number): Buffer {
    const fd = openSync(path, "r")
    const bytes = Buffer.alloc(length)
    assert.equal(readSync(fd, bytes, 0, length, offset), length)
    closeSync(fd)
    return bytes
  }

  writeAt(path: string, offset: number, bytes: Uint8Array): void {
    const fd = openSync(path, "r+")
    writeSync(fd, bytes, 0, bytes.length, offset)
    closeSync(fd)
  }

  /** A copy as a torn write leaves it: half of the binary header is gone. */
  broken(copy: "first" | "second", work: () => void | Promise<void>): Promise<void> {
    const { headerSize } = this.#cell
    const saved = this.readAt(this.header, 0, 2 * headerSize)
    this.writeAt(this.header, copy === "first" ? 0 : headerSize, Buffer.alloc(2048))
    return Promise.resolve(work()).finally(() => this.writeAt(this.header, 0, saved))
  }

  /** By a passphrase; cryptsetup's own unlocking. */
  volumeKey(keyFile: string): Buffer {
    const out = join(folder, "volume.key")
    rmSync(out, { force: true })
    cryptsetup("luksDump", this.header, "--dump-volume-key", "--volume-key-file", out, "--key-file", keyFile)
    return readFileSync(out)
  }

  remove(): void {
    rmSync(this.data)
    rmSync(this.header, { force: true })
  }
}

function xts(encrypt: boolean, key: Buffer, sectorSize: number, input: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < input.length; at += sectorSize) {
    const iv = Buffer.alloc(16)
    iv.writeBigUInt64LE(BigInt(at / 512))
    const cipher = (encrypt ? createCipheriv : createDecipheriv)(`aes-${key.length * 4}-xts`, key, iv)
    parts.push(cipher.update(input.subarray(at, at + sectorSize)))
  }
  return Buffer.concat(parts)
}

const forced = {
  pbkdf2: ["--pbkdf-force-iterations", "1000"],
  argon2: ["--pbkdf-force-iterations", "4", "--pbkdf-memory", "256", "--pbkdf-parallel", "2"],
}
const pbkdfOptions = (cell: Cell) => ["--pbkdf", cell.kdf, ...(cell.kdf === "pbkdf2" ? forced.pbkdf2 : forced.argon2)]

/** Opens with us; the keyslot that opened, and what `work` finds. */
async function opened<T>(
  files: Files,
  passphrase: Buffer,
  work: (handle: VolumeHandle, segment: Segment) => T,
): Promise<{ readonly slot: number; readonly result: T }> {
  const device = await openFile(files.header, { readOnly: false })
  const store = await HeaderStore.open(device)
  try {
    const areas = new Map<number, Uint8Array>()
    for (const slot of store.header.metadata.keyslots.keys()) areas.set(slot, await store.readArea(slot))
    const header = enclaveHeader(store.header, areas, () => true)
    const sealed = await seal({ purpose: "unlock", header, slot: null }, { existing: passphrase })
    const { handle, slot } = await enclave.unlock(sealed, header)
    try {
      return { slot, result: work(handle, header.segment) }
    } finally {
      enclave.closeVolume(handle)
    }
  } finally {
    await device.close()
  }
}

/** One SECTORS entry over a copy of `input`. */
function sectors(handle: VolumeHandle, decrypt: boolean, input: Buffer): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(input.length))
  bytes.set(input)
  enclave.sectors(handle, decrypt, [{ input: bytes, output: bytes, sector: 0n }])
  return bytes
}

async function theirs(cell: Cell, files: Files): Promise<(copy: "first" | "second") => Promise<void>> {
  cryptsetup(
    ...["luksFormat", files.data, keyFiles.first, "--type", "luks2", ...pbkdfOptions(cell)],
    ...["--cipher", "aes-xts-plain64", "--key-size", String(cell.bits), "--sector-size", String(cell.sectorSize)],
    ...["--luks2-metadata-size", String(cell.headerSize), "--luks2-keyslots-size", String(9 << 20)],
    ...(cell.detached ? ["--header", files.header] : ["--offset", String((18 << 20) / 512)]),
  )
  for (let slot = 1; slot < cell.slots; slot++) {
    const keyFile = slot === 31 ? keyFiles.last : keyFiles.first
    cryptsetup(
      "luksAddKey",
      files.header,
      keyFile,
      "--key-slot",
      "0",
      "--key-file",
      keyFiles.first,
      "--new-key-slot",
      String(slot),
      ...pbkdfOptions(cell),
    )
  }
  const [passphrase, slot] = cell.slots === 1 ? [first, 0] : [last, 31]
  const key = files.volumeKey(keyFiles.first)
  files.writeAt(files.data, cell.detached ? 0 : 18 << 20, xts(true, key, cell.sectorSize, plaintext))
  return (copy) =>
    files.broken(copy, async () => {
      const found = await opened(files, passphrase, (handle, segment) =>
        sectors(handle, true, files.readAt(files.data, Number(segment.offset), plaintext.length)),
      )
      assert.equal(found.slot, slot)
      assert.deepEqual(found.result, plaintext)
    })
}

function enclaveKdf(cell: Cell): Kdf {
  return cell.kdf === "pbkdf2"
    ? { type: "pbkdf2", hash: "sha256", iterations: 1000 }
    : { type: cell.kdf, time: 4, memoryKib: 256, lanes: 2 }
}

async function ours(cell: Cell, files: Files): Promise<(copy: "first" | "second") => Promise<void>> {
  const keyslot = (slot: number): FreshKeyslot => ({
    type: "portable",
    secret: slot === 31 ? last : first,
    slot,
    kdf: enclaveKdf(cell),
  })
  const others = Array.from({ length: cell.slots - 1 }, (_, index) => keyslot(index + 1))
  const { sectorSize, detached, headerSize } = cell
  const keySize = (cell.bits / 8) as 32 | 64
  const volume = { uuid: randomUUID(), label: "", sectorSize, keySize, detached, headerSize }
  const made = await makeVolume({ enclave, seal }, volume, [keyslot(0), ...others], files.header)
  const device = await openFile(files.header, { readOnly: false })
  await writeVolume(device, made, { wipeOld: false, progress: () => {} })
  await device.close()
  const { result: offset } = await opened(files, first, (handle, segment) => {
    files.writeAt(files.data, Number(segment.offset), sectors(handle, false, plaintext))
    return Number(segment.offset)
  })
  const [keyFile, slot] = cell.slots === 1 ? [keyFiles.first, 0] : [keyFiles.last, 31]
  return (copy) =>
    files.broken(copy, () => {
      cryptsetup("open", "--test-passphrase", files.header, "--key-file", keyFile, "--key-slot", String(slot))
      const key = files.volumeKey(keyFile)
      assert.equal(key.length, keySize)
      const onDisk = files.readAt(files.data, offset, plaintext.length)
      assert.deepEqual(xts(false, key, sectorSize, onDisk), plaintext)
    })
}

for (const [direction, make] of [
  ["theirs → ours", theirs],
  ["ours → theirs", ours],
] as const) {
  for (const kdf of ["pbkdf2", "argon2i", "argon2id"] as const) {
    for (const bits of [256, 512] as const) {
      for (const sectorSize of [512, 1024, 2048, 4096] as const) {
        for (const slots of [1, 32] as const) {
          for (const headerSize of [16 << 10, 4 << 20]) {
            for (const detached of [false, true]) {
              const size = headerSize === 16 << 10 ? "16 KiB" : "4 MiB"
              const where = detached ? "detached" : "attached"
              const name = `${direction}, ${kdf}, ${bits} bit, sector ${sectorSize}, ${slots} slots, ${size}, ${where}`
              test(name, async (t) => {
                const files = new Files({ kdf, bits, sectorSize, slots, headerSize, detached }, "cell")
                try {
                  const check = await make({ kdf, bits, sectorSize, slots, headerSize, detached }, files)
                  await t.test(`${name}, first header broken`, () => check("first"))
                  await t.test(`${name}, second header broken`, () => check("second"))
                } finally {
                  files.remove()
                }
              })
            }
          }
        }
      }
    }
  }
}

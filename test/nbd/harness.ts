/** A volume in a scratch file, its sectors encrypted by OpenSSL, served for other people's clients. */
import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import { closeSync, mkdtempSync, openSync, readSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { serveNbd } from "../../src/export/server.ts"
import { FileStore } from "../../src/store/file-store.ts"
import { HANDLE, TestEnclave, xts } from "../../src/testing/test-enclave.ts"
import { Volume, type VolumeOptions } from "../../src/volume/volume.ts"

/** Where the segment starts in the scratch file. */
const OFFSET = 1 << 20

export interface Served {
  /** Removed with the server. */
  readonly folder: string
  readonly socket: string
  readonly uri: string
  readonly size: number
  readonly volume: Volume
  /** What OpenSSL makes of the sectors that lie in the file now. */
  plaintext(offset: number, length: number): Buffer
}

export async function served(
  options: Partial<Pick<VolumeOptions, "sectorSize" | "readOnly" | "discards">> & { readonly size?: number },
  body: (at: Served) => Promise<void>,
): Promise<void> {
  const { size = 64 << 20, sectorSize = 4096 } = options
  const folder = mkdtempSync(join(tmpdir(), "tresor-nbd-test-"))
  const file = join(folder, "volume")
  writeFileSync(file, "")
  truncateSync(file, OFFSET + size)
  const key = randomBytes(64)
  const store = await FileStore.open(file)
  const volume = new Volume({ ...options, store, offset: OFFSET, size, sectorSize })
  volume.unlock(new TestEnclave(key, sectorSize).enclave, HANDLE)
  const socket = join(folder, "nbd.sock")
  const server = await serveNbd({ path: socket, volume })
  try {
    await body({
      folder,
      socket,
      uri: `nbd+unix:///?socket=${socket}`,
      size,
      volume,
      plaintext(offset, length) {
        const bytes = Buffer.alloc(length)
        const fd = openSync(file, "r")
        readSync(fd, bytes, 0, length, OFFSET + offset)
        closeSync(fd)
        return xts(key, true, sectorSize, offset / 512, bytes)
      },
    })
  } finally {
    await server.close()
    await volume.close()
    rmSync(folder, { recursive: true })
  }
}

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Rejects when the tool is missing or is killed; a status is the caller's to judge. */
export function run(command: string, ...args: string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: 60_000, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") reject(error)
      else resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

/** Rejects with what the tool said, unless it succeeds. */
export async function succeed(command: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(command, ...args)
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}: ${stderr}${stdout}`)
  return stdout
}

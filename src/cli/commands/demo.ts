/** `tresor demo`: every step in a few seconds, on a scratch volume that is removed afterwards. */
import { randomBytes } from "node:crypto"
import { closeSync, openSync, readSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Backend } from "../../abi/enclave.ts"
import { formatSize } from "../../base/size.ts"
import { closeVolume } from "../../control/daemon.ts"
import { secretDir } from "../../enclave/machine-secret.ts"
import { NbdClient } from "../../nbd/client.ts"
import { keepingIn } from "../../protection/secret.ts"
import { protection } from "../../protection/words.ts"
import { out } from "../output/output.ts"
import { bold, cyan, dim, green, yellow } from "../output/style.ts"
import { inScratchFolders } from "../scratch.ts"
import { createVolume } from "./create.ts"
import { openVolume } from "./open.ts"

const NAME = "demo"
const SIZE = 48n << 20n
const OFFSET = 1 << 20
const TEXT = "Meet me at the old harbour at nine and bring the blue notebook. "

function readAt(path: string, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  const fd = openSync(path, "r")
  try {
    readSync(fd, bytes, 0, length, offset)
  } finally {
    closeSync(fd)
  }
  return bytes
}

/** "4d 65 65 74 …  Meet …" */
function hexRow(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ")
  const text = Array.from(bytes, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("")
  return `${hex}  ${text}`
}

export async function demo(options: { readonly backend: Backend | "auto"; readonly policy?: string }): Promise<void> {
  const say = (text = "") => out.line(`${text}`)
  const began = performance.now()
  let last = began
  /** A step, with the time since the one before. */
  const step = (text: string) => {
    const now = performance.now()
    say(`${green("✔")} ${text} ${dim(`(${Math.round(now - last)} ms)`)}`)
    last = now
  }

  await inScratchFolders("demo", async (folder) => {
    const path = join(folder, "demo.img")
    const keyFile = join(folder, "passphrase")
    writeFileSync(keyFile, randomBytes(32).toString("base64url"), { mode: 0o600 })
    say(bold("Tresor: disk encryption whose keys exist only inside an enclave"))
    say()

    const made = await createVolume(path, {
      ...options,
      size: SIZE,
      keyFile,
      recovery: true,
      recoveryKeyFile: join(folder, "recovery-key"),
      label: "demo",
    })
    step(`created ${formatSize(SIZE)} LUKS2 volume; its key was made in the enclave and never leaves it`)

    const volume = await openVolume(path, NAME, { ...options, keyFile, tries: 1 })
    step("opened: the passphrase was encrypted to the enclave, and Argon2id ran there")
    say(
      dim(
        `  enclave ${volume.enclave.mrenclave.slice(0, 16)}…, backend ${volume.enclave.backend}, ${volume.enclave.aes}`,
      ),
    )

    const plaintext = Buffer.alloc(64 * 1024, TEXT)
    {
      await using client = await NbdClient.connect(volume.socket)
      await client.write(OFFSET, plaintext)
      await client.flush()
      const back = await client.read(OFFSET, plaintext.length)
      if (Buffer.compare(back, plaintext) !== 0) throw new Error("the device returned other data than was written")
    }
    step(`wrote and read ${formatSize(plaintext.length)} over NBD; the same bytes came back`)

    say()
    const rows = 3
    const onDisk = readAt(path, made.dataOffset + OFFSET, plaintext.length)
    for (const [title, bytes, colour] of [
      ["plaintext, what NBD clients see", plaintext, cyan],
      ["ciphertext, what is on disk", onDisk, yellow],
    ] as const) {
      say(`  ${bold(title)}`)
      for (let row = 0; row < rows; row++) say(`  ${colour(hexRow(bytes.subarray(row * 16, row * 16 + 16)))}`)
    }
    if (onDisk.includes(TEXT.trim())) throw new Error("the plaintext is on disk")
    say()

    await closeVolume(NAME)
    step("closed: flushed, keys wiped, process ended")

    const safe = protection(volume.enclave.backend, volume.enclave.memory, volume.enclave.debug, keepingIn(secretDir()))
    say()
    say(bold(`On this machine (backend ${volume.enclave.backend})`))
    for (const line of safe.protected) say(`  ${green("protected")}      ${line}`)
    for (const line of safe.exposed) say(`  ${yellow("not protected")}  ${line}`)
  })
  say()
  say(
    `Done in ${((performance.now() - began) / 1000).toFixed(1)} s; nothing is left behind. Next: ${bold("tresor create disk.img --size 1G")}`,
  )
}

/** Secrets in the kernel's keyring of this user until the machine goes down; addon/keyring.c. */
import { addon } from "./addon.ts"

interface KeyringFunctions {
  /** At most 256 bytes, which the caller wipes. Replaces one of that name. Throws an errno's name as `code`. */
  keyringKeep(name: string, bytes: Uint8Array): void
  /** The caller's to wipe; `null`: there is none. */
  keyringRead(name: string): Uint8Array | null
  /** Whether there was one. */
  keyringForget(name: string): boolean
}

export const { keyringKeep, keyringRead, keyringForget } = addon as unknown as KeyringFunctions

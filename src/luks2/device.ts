/**
 * What a header lies on: a file or block device, or in tests memory that
 * loses what was not synced.
 */
export interface HeaderDevice {
  readonly path: string
  readonly readOnly: boolean
  /** Bytes. */
  size(): Promise<number>
  /** Exactly `length` bytes, or throws LUKS2_TRUNCATED (exit 4). */
  read(offset: number, length: number): Promise<Uint8Array>
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** Returns once everything written is on stable storage. */
  sync(): Promise<void>
  /** What is kept here beside LUKS, or with `luks` LUKS too, by name; `null`: nothing that is known. */
  signature(options: { readonly luks: boolean }): Promise<string | null>
  /** Runs `work` under cryptsetup's lock (shared for reading, exclusive for writing). */
  locked<T>(mode: "shared" | "exclusive", work: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

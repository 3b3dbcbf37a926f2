/** Rows for one pass of whole sectors through the enclave (addon/io/sectors.c tells the columns). Pure. */

export const ROWS = 64
/** Of ciphertext in one pass; WRITER_MEMORY of addon/io/writer.h. */
export const WRITE_BYTES = 256 << 10
const EAGAIN = 11
const EINPROGRESS = 115
const COLUMNS = 6
const [OFFSET, SECTOR, AT, LENGTH, FROM, RESULT] = [0, 1, 2, 3, 4, 5]

export class SectorBatch {
  /** What the addon reads, and writes results into. */
  readonly table = new Float64Array(ROWS * COLUMNS)
  readonly #segment: number
  #rows = 0

  /** `segment`: bytes in the store where the volume's first sector lies. */
  constructor(segment: number) {
    this.#segment = segment
  }

  get rows(): number {
    return this.#rows
  }

  get full(): boolean {
    return this.#rows === ROWS
  }

  /**
   * `offset` and `length`: whole sectors of the volume, in bytes. `at`: where the
   * sectors go in the buffer, a multiple of 8; of a write, in memory of the addon's, WRITE_BYTES in all.
   * `from`: where a write's plaintext is.
   */
  add(offset: number, length: number, at: number, from: number): void {
    const row = this.#rows++ * COLUMNS
    this.table[row + OFFSET] = this.#segment + offset
    this.table[row + SECTOR] = offset / 512
    this.table[row + AT] = at
    this.table[row + LENGTH] = length
    this.table[row + FROM] = from
    this.table[row + RESULT] = 0
  }

  /** After a pass: rows moved, and their bytes. */
  moved(): { readonly rows: number; readonly bytes: number } {
    let [rows, bytes] = [0, 0]
    for (let row = 0; row < this.#rows; row++) {
      if (this.failed(row)) continue
      rows++
      bytes += this.table[row * COLUMNS + LENGTH]!
    }
    return { rows, bytes }
  }

  /** After a pass: whether the row was not moved. */
  failed(row: number): boolean {
    return this.table[row * COLUMNS + RESULT] !== 0
  }

  /** More than one row, and each has so many bytes at least. */
  large(bytes: number): boolean {
    for (let row = 0; row < this.#rows; row++) if (this.table[row * COLUMNS + LENGTH]! < bytes) return false
    return this.#rows > 1
  }

  /** No row is moved: each is for who may wait. */
  refuse(): void {
    for (let row = 0; row < this.#rows; row++) this.table[row * COLUMNS + RESULT] = EAGAIN
  }

  /** After a pass: whether the row only would have had to wait. */
  waits(row: number): boolean {
    return this.table[row * COLUMNS + RESULT] === EAGAIN
  }

  /** After a pass: the rows' writes are late, and go on. */
  get late(): boolean {
    return this.table[RESULT] === EINPROGRESS
  }

  /** Bytes of the volume that a row is of. */
  range(row: number): { readonly start: number; readonly end: number } {
    const start = this.table[row * COLUMNS + OFFSET]! - this.#segment
    return { start, end: start + this.table[row * COLUMNS + LENGTH]! }
  }

  clear(): void {
    this.#rows = 0
  }
}

/** vectors/sealed-requests.json and vectors/sealed-salt.json; for tests only. Bytes are hexadecimal. */
import { readFileSync } from "node:fs"
import type { Status } from "../abi/enclave.ts"

const read = (file: string) => JSON.parse(readFileSync(new URL(`../../vectors/${file}`, import.meta.url), "utf8"))

export interface RequestVector {
  readonly name: string
  /** As asked.ts has it, but for bytes (hexadecimal) and 64-bit numbers (text). */
  // biome-ignore lint/suspicious/noExplicitAny: any of them
  readonly asked: any
  readonly digestInput: readonly { readonly part: string; readonly bytes: string }[]
  readonly digest: string
  readonly slot: number | null
  readonly freshSlot: number | null
  readonly unsealed: boolean
  readonly nonce: string
  readonly context: string
  readonly existing: string
  readonly fresh: string
  readonly message: string
}

export const requests: {
  readonly secretKey: string
  readonly publicKey: string
  readonly info: string
  readonly requests: readonly RequestVector[]
} = read("sealed-requests.json")

export interface SealVector {
  /** What EGETKEY returns. */
  readonly egetkey: string
  readonly self: {
    readonly mrenclave: string
    readonly mrsigner: string
    readonly cpuSvn: string
    readonly attributes: string
    readonly isvProdId: number
    readonly isvSvn: number
  }
  readonly slot: number
  readonly uuid: string
  readonly kdfStruct: string
  readonly sealed: string
  readonly fields: Readonly<Record<string, { readonly offset: number; readonly size: number; readonly bytes: string }>>
  readonly associatedData: string
  readonly label: string
  readonly key: string
  readonly salt: string
  readonly refused: readonly {
    readonly oddity: string
    /** Offset to bytes. */
    readonly bytes: Readonly<Record<string, string>>
    /** Whether the checksum is made anew. */
    readonly checksum: boolean
    readonly status: keyof typeof Status
    readonly code: number
  }[]
}

export const seal: SealVector = read("sealed-salt.json")

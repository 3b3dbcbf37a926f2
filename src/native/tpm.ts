/**
 * What a TPM 2.0 is asked; addon/tpm. Structs are in wire format (TPM 2.0 Library, Part 2). All reject with an Error whose
 * `code` is TSS_MISSING (`message`: the library that is not installed) or TSS_<response code, 8 hex digits> (`message`: at
 * which step).
 */
import { addon } from "./addon.ts"

/** Where the TPM is. */
export interface TpmPlace {
  readonly path: string
  /** The socket of swtpm(8) instead of a character device. */
  readonly simulator: boolean
}

export interface TpmReading {
  /** TPML_PCR_SELECTION: those that `digests` has; eight at most. */
  readonly selection: Uint8Array
  /** TPML_DIGEST */
  readonly digests: Uint8Array
  /** TPMS_CAPABILITY_DATA: TPM2_PT_PERMANENT and what follows. */
  readonly properties: Uint8Array
}

interface TpmFunctions {
  tpmRead(place: TpmPlace, asked: { readonly selection: Uint8Array }): Promise<TpmReading>
  tpmSeal(
    place: TpmPlace,
    asked: {
      /** TPM2B_PUBLIC of the storage primary key, where none is kept. */
      readonly template: Uint8Array
      /** TPM2B_SENSITIVE_CREATE; copied, the caller wipes it. */
      readonly sensitive: Uint8Array
      /** TPM2B_PUBLIC */
      readonly public: Uint8Array
    },
  ): Promise<{
    readonly public: Uint8Array
    readonly private: Uint8Array
    /** TPM2B_NAME of the parent. */
    readonly parent: Uint8Array
    /** The parent is the key that the TPM keeps at 0x81000001. */
    readonly kept: boolean
  }>
  tpmUnseal(
    place: TpmPlace,
    asked: {
      readonly template: Uint8Array
      /** TPM2B_NAME: another key is refused. */
      readonly parent: Uint8Array
      readonly public: Uint8Array
      readonly private: Uint8Array
      /** TPML_PCR_SELECTION of the policy; empty: it names no PCR. */
      readonly selection: Uint8Array
      /** TPM2B_AUTH; empty: the policy asks for none. Copied, the caller wipes it. */
      readonly auth: Uint8Array
    },
    /** TPM2B_SENSITIVE_DATA, the caller's to wipe. */
  ): Promise<{ readonly data: Uint8Array }>
}

export const { tpmRead, tpmSeal, tpmUnseal } = addon as unknown as TpmFunctions

/** Numbers of LUKS2 and of the part of it the enclave opens (LUKS2 On-Disk Format Specification 1.1; abi/enclave.h). Pure. */
import { Limit } from "../abi/enclave.ts"

/** LUKS2_KEYSLOTS_MAX, LUKS2_TOKENS_MAX of cryptsetup. */
export const KEYSLOTS = Limit.keyslots
export const TOKENS = 32

/** Of the anti-forensic splitter. */
export const STRIPES = Limit.stripes

/** Bytes of an encryption sector (LUKS2 On-Disk Format Specification 1.1, 3.3). */
export const SECTOR_SIZES = [512, 1024, 2048, 4096] as const
export type SectorSize = (typeof SECTOR_SIZES)[number]

/** Of segments and keyslot areas: the one the enclave has. */
export const CIPHER = "aes-xts-plain64"

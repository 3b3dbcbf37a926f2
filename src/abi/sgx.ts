/** abi/sgx.h for TypeScript: structures of the Intel SDM that are read or written here. sgx.test.ts compares. Pure. */
import { struct } from "./struct.ts"

export const sigstruct = struct("sgx_sigstruct", {
  header: 16,
  vendor: "u32",
  date: "u32",
  header2: 16,
  sw_defined: "u32",
  reserved1: 84,
  modulus: 384,
  exponent: "u32",
  signature: 384,
  misc_select: "u32",
  misc_mask: "u32",
  cet_attributes: "u8",
  cet_attributes_mask: "u8",
  reserved2: 2,
  isv_family_id: 16,
  attributes: 16,
  attributes_mask: 16,
  enclave_hash: 32,
  reserved3: 16,
  isv_ext_prod_id: 16,
  isv_prod_id: "u16",
  isv_svn: "u16",
  reserved4: 12,
  q1: 384,
  q2: 384,
})

export const report = struct("sgx_report", {
  cpu_svn: 16,
  misc_select: "u32",
  cet_attributes: "u8",
  reserved1: 11,
  isv_ext_prod_id: 16,
  attributes: 16,
  mrenclave: 32,
  reserved2: 32,
  mrsigner: 32,
  reserved3: 32,
  config_id: 64,
  isv_prod_id: "u16",
  isv_svn: "u16",
  config_svn: "u16",
  reserved4: 42,
  isv_family_id: 16,
  report_data: 64,
  key_id: 32,
  mac: 16,
})

/** What a report's MAC is over, and a quote's body. */
export const REPORT_BODY_SIZE = report.offsets.key_id

export const TARGET_INFO_SIZE = 512

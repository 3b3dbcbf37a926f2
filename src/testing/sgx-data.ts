/**
 * SGX data that others published; it lies beside this repository, not in it. For tests only.
 *
 *   quote-test-root/  intel/SGX-TDX-DCAP-QuoteVerificationLibrary, Src/AttestationApp/sampleData
 *   sigstruct/        fortanix/rust-sgx, intel-sgx/sgxs*\/tests/data; intel/linux-sgx, psw/ae/data/prebuilt/le_prod_css.bin
 *   sgxs/             fortanix/rust-sgx, intel-sgx/report-test/enclave/report.sgxs
 */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** A folder, absolute. */
export const SGX_DATA = fileURLToPath(new URL("../../../shared/sgx-data", import.meta.url))

/**
 * Options of a test on that data. Where it is missing the test is left out, and
 * scripts/test.mjs says how many were; in CI it runs, and fails over the file that is not there.
 */
export const onPublishedData =
  existsSync(SGX_DATA) || process.env["CI"] !== undefined ? {} : { skip: "needs ../shared/sgx-data" }

/** addon/tpm/tss.h declares what it loads of tpm2-tss without its headers; here they are compared. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { test } from "node:test"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** GCC compares integer arguments by size, and takes any pointer for any other. */
function compile(program: string) {
  const flags = ["-fsyntax-only", "-Wall", "-Wextra", "-Wcast-function-type", "-Werror", "-D_GNU_SOURCE", `-I${root}`]
  return spawnSync("gcc", [...flags, "-x", "c", "-"], { input: program, encoding: "utf8" })
}

const INCLUDES = `#include <stddef.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tcti_device.h>
#include <tss2/tss2_tcti_swtpm.h>
#include "addon/tpm/tss.h"
#define same(a, b) _Static_assert((a) == (b), #a " is not " #b)
`

const functions = (declaration: string) => `${INCLUDES}
${declaration}
void functions(void) {
#define X(library, result, name, parameters) { result (*it) parameters = (result (*) parameters)name; (void)it; }
  TSS_FUNCTIONS(X)
#undef X
}`

test("every function has the parameters that tpm2-tss declares, and another declaration is noticed", () => {
  assert.equal(compile(functions("")).stderr, "")
  const wrong =
    "#undef TSS_FUNCTIONS\n#define TSS_FUNCTIONS(X) X(esys, tss_rc, Esys_FlushContext, (void *context, uint16_t object))"
  assert.match(compile(functions(wrong)).stderr, /cast-function-type/)
})

test("constants, sizes and the TCTI's layout are tpm2-tss's", () => {
  const tcti = (member: string) =>
    `same(offsetof(struct tcti_common, ${member}), offsetof(TSS2_TCTI_CONTEXT_COMMON_V1, ${member}));`
  const largest = [
    "TPM2B_PUBLIC",
    "TPM2B_PRIVATE",
    "TPM2B_SENSITIVE_CREATE",
    "TPM2B_DIGEST",
    "TPM2B_DATA",
    "TPML_PCR_SELECTION",
    "TPMT_SYM_DEF",
  ]
  const program = `${INCLUDES}
#include "addon/tpm/tss.c"
same(TSS_NONE, ESYS_TR_NONE);
same(TSS_PASSWORD, ESYS_TR_PASSWORD);
same(TSS_OWNER, ESYS_TR_RH_OWNER);
same(sizeof(tss_object), sizeof(ESYS_TR));
${["version", "transmit", "receive", "finalize"].map(tcti).join("\n")}
${largest.map((name) => `_Static_assert(sizeof(${name}) <= sizeof(struct tss_struct), "${name} does not fit");`).join("\n")}
tcti_init *const inits[] = { (tcti_init *)Tss2_Tcti_Device_Init, (tcti_init *)Tss2_Tcti_Swtpm_Init };
`
  assert.equal(compile(program).stderr, "")
})

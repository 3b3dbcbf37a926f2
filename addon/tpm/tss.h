/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tpm2-tss (ESAPI), loaded when a TPM is used and not before: nothing is linked, and a machine without it has no TPM here.
 *
 * Only scalars and pointers cross this border. Each struct of the TPM 2.0 Library specification, Part 2, comes and goes in
 * the TPM's own wire format, through the library's marshalling (MU); how the library lays it out in memory is not known
 * here, so no header of tpm2-tss is needed to build this. test/tpm compares the declarations with that header.
 */
#ifndef TRESOR_TPM_TSS_H
#define TRESOR_TPM_TSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t tss_rc;
/* ESYS_TR: an object of the library's. */
typedef uint32_t tss_object;

#define TSS_NONE 0xfffu /* ESYS_TR_NONE */
#define TSS_PASSWORD 0x0ffu /* ESYS_TR_PASSWORD */
#define TSS_OWNER 0x101u /* ESYS_TR_RH_OWNER */

/* Any struct that MU fills: more than the largest that is used here (test/tpm checks it). */
struct tss_struct {
	_Alignas(16) uint8_t bytes[4096];
};

typedef tss_rc tss_marshal(const void *source, uint8_t buffer[], size_t size, size_t *offset);
typedef tss_rc tss_unmarshal(const uint8_t buffer[], size_t size, size_t *offset, void *destination);

/* Every function by the name it has in the library; three sessions where one says so. */
#define TSS_FUNCTIONS(X) \
	X(esys, tss_rc, Esys_Initialize, (void **context, void *tcti, void *abi)) \
	X(esys, void, Esys_Finalize, (void **context)) \
	X(esys, void, Esys_Free, (void *memory)) \
	X(esys, tss_rc, Esys_TR_FromTPMPublic, \
	  (void *context, uint32_t handle, tss_object a, tss_object b, tss_object c, tss_object *object)) \
	X(esys, tss_rc, Esys_TR_GetName, (void *context, tss_object object, void **name)) \
	X(esys, tss_rc, Esys_TR_SetAuth, (void *context, tss_object object, const void *auth)) \
	X(esys, tss_rc, Esys_ReadPublic, \
	  (void *context, tss_object object, tss_object a, tss_object b, tss_object c, void **public, void **name, \
	   void **qualified)) \
	X(esys, tss_rc, Esys_CreatePrimary, \
	  (void *context, tss_object hierarchy, tss_object a, tss_object b, tss_object c, const void *sensitive, \
	   const void *template, const void *outside, const void *pcrs, tss_object *object, void **public, \
	   void **creation, void **hash, void **ticket)) \
	X(esys, tss_rc, Esys_StartAuthSession, \
	  (void *context, tss_object key, tss_object bind, tss_object a, tss_object b, tss_object c, \
	   const void *nonce, uint8_t type, const void *symmetric, uint16_t hash, tss_object *session)) \
	X(esys, tss_rc, Esys_TRSess_SetAttributes, \
	  (void *context, tss_object session, uint8_t attributes, uint8_t mask)) \
	X(esys, tss_rc, Esys_Create, \
	  (void *context, tss_object parent, tss_object a, tss_object b, tss_object c, const void *sensitive, \
	   const void *template, const void *outside, const void *pcrs, void **private, void **public, \
	   void **creation, void **hash, void **ticket)) \
	X(esys, tss_rc, Esys_Load, \
	  (void *context, tss_object parent, tss_object a, tss_object b, tss_object c, const void *private, \
	   const void *public, tss_object *object)) \
	X(esys, tss_rc, Esys_PolicyPCR, \
	  (void *context, tss_object session, tss_object a, tss_object b, tss_object c, const void *digest, \
	   const void *pcrs)) \
	X(esys, tss_rc, Esys_PolicyAuthValue, \
	  (void *context, tss_object session, tss_object a, tss_object b, tss_object c)) \
	X(esys, tss_rc, Esys_Unseal, \
	  (void *context, tss_object item, tss_object a, tss_object b, tss_object c, void **data)) \
	X(esys, tss_rc, Esys_FlushContext, (void *context, tss_object object)) \
	X(esys, tss_rc, Esys_PCR_Read, \
	  (void *context, tss_object a, tss_object b, tss_object c, const void *wanted, uint32_t *counter, \
	   void **pcrs, void **digests)) \
	X(esys, tss_rc, Esys_GetCapability, \
	  (void *context, tss_object a, tss_object b, tss_object c, uint32_t capability, uint32_t property, \
	   uint32_t count, uint8_t *more, void **data)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_PUBLIC_Marshal, (const void *, uint8_t *, size_t, size_t *)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_PUBLIC_Unmarshal, (const uint8_t *, size_t, size_t *, void *)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_PRIVATE_Marshal, (const void *, uint8_t *, size_t, size_t *)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_PRIVATE_Unmarshal, (const uint8_t *, size_t, size_t *, void *)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_SENSITIVE_CREATE_Unmarshal, (const uint8_t *, size_t, size_t *, void *)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_SENSITIVE_DATA_Marshal, (const void *, uint8_t *, size_t, size_t *)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_NAME_Marshal, (const void *, uint8_t *, size_t, size_t *)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_DIGEST_Unmarshal, (const uint8_t *, size_t, size_t *, void *)) \
	X(mu, tss_rc, Tss2_MU_TPM2B_DATA_Unmarshal, (const uint8_t *, size_t, size_t *, void *)) \
	X(mu, tss_rc, Tss2_MU_TPML_PCR_SELECTION_Marshal, (const void *, uint8_t *, size_t, size_t *)) \
	X(mu, tss_rc, Tss2_MU_TPML_PCR_SELECTION_Unmarshal, (const uint8_t *, size_t, size_t *, void *)) \
	X(mu, tss_rc, Tss2_MU_TPML_DIGEST_Marshal, (const void *, uint8_t *, size_t, size_t *)) \
	X(mu, tss_rc, Tss2_MU_TPMT_SYM_DEF_Unmarshal, (const uint8_t *, size_t, size_t *, void *)) \
	X(mu, tss_rc, Tss2_MU_TPMS_CAPABILITY_DATA_Marshal, (const void *, uint8_t *, size_t, size_t *))

/* The functions, once they are loaded. */
struct tss {
#define X(library, result, name, parameters) result(*name) parameters;
	TSS_FUNCTIONS(X)
#undef X
};

/* NULL: a library is not there, `*missing` names it. For one thread at a time. */
const struct tss *tss_load(const char **missing);

/* Where a TPM is: TSS_DEVICE a character device, TSS_SWTPM the socket of swtpm(8), for tests. */
enum tss_kind { TSS_DEVICE, TSS_SWTPM };

struct tss_tcti;

/* The way to the TPM at `path`; NULL: `*rc` says why, 0 when the library is missing. */
struct tss_tcti *tss_tcti_open(enum tss_kind kind, const char *path, tss_rc *rc, const char **missing);
void *tss_tcti_context(struct tss_tcti *tcti);
void tss_tcti_close(struct tss_tcti *tcti);

#endif

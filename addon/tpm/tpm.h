/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of a TPM 2.0, each from the opening of the way to it to its end, with nothing left in the TPM: PCRs and
 * properties read, 32 bytes sealed, and unsealed. Structs are in wire format (TPM 2.0 Library, Part 2). Any thread.
 */
#ifndef TRESOR_TPM_TPM_H
#define TRESOR_TPM_TPM_H

#include "addon/tpm/tss.h"

#define TPM_WIRE 2048

/* A struct in wire format; `size` 0: none. */
struct tpm_wire {
	size_t size;
	uint8_t bytes[TPM_WIRE];
};

struct tpm_place {
	enum tss_kind kind;
	char path[108];
};

/* How it ended: `stage` NULL is well. `missing`: a library or function that is not there. */
struct tpm_fault {
	const char *stage, *missing;
	tss_rc rc;
};

struct tpm_reading {
	struct tpm_wire selection; /* TPML_PCR_SELECTION, in */
	struct tpm_wire read; /* TPML_PCR_SELECTION: those that `digests` has, at most eight at a time */
	struct tpm_wire digests; /* TPML_DIGEST */
	struct tpm_wire properties; /* TPMS_CAPABILITY_DATA, from TPM2_PT_PERMANENT on */
};

/* For both that follow. */
struct tpm_parent {
	struct tpm_wire template; /* TPM2B_PUBLIC of a storage primary key, in */
	struct tpm_wire name; /* TPM2B_NAME: unseal takes that key and no other; seal says it */
	uint32_t handle; /* out: of a persistent one; 0: made for this once */
};

struct tpm_sealing {
	struct tpm_parent parent;
	struct tpm_wire sensitive; /* TPM2B_SENSITIVE_CREATE: authValue and data; wiped */
	struct tpm_wire public; /* TPM2B_PUBLIC: template in, object out */
	struct tpm_wire private; /* TPM2B_PRIVATE, out */
};

struct tpm_unsealing {
	struct tpm_parent parent;
	struct tpm_wire public, private; /* as sealed */
	struct tpm_wire selection; /* TPML_PCR_SELECTION of the policy; none: no PolicyPCR */
	struct tpm_wire auth; /* TPM2B_AUTH; none: no PolicyAuthValue. Wiped */
	struct tpm_wire data; /* TPM2B_SENSITIVE_DATA, out; the caller wipes it */
};

void tpm_read(const struct tpm_place *place, struct tpm_reading *reading, struct tpm_fault *fault);
void tpm_seal(const struct tpm_place *place, struct tpm_sealing *sealing, struct tpm_fault *fault);
void tpm_unseal(const struct tpm_place *place, struct tpm_unsealing *unsealing, struct tpm_fault *fault);

#endif

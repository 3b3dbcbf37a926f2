/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_MEASURE_H
#define TRESOR_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addon/sgx/backend.h"

struct tresor_sha256 {
	uint32_t state[8];
	uint64_t length;	/* bytes so far */
	uint8_t block[64];
};

void tresor_sha256_init(struct tresor_sha256 *hash);
void tresor_sha256_update(struct tresor_sha256 *hash, const void *data, size_t size);
/* Wipes the context. */
void tresor_sha256_final(struct tresor_sha256 *hash, uint8_t digest[32]);

/* A memset the compiler keeps. */
void tresor_wipe(void *data, size_t size);

/* The stream that MRENCLAVE is the hash of; SDM vol. 3D, ECREATE, EADD, EEXTEND. */
void tresor_measure_create(struct tresor_sha256 *hash, uint64_t size, uint32_t ssa_frame_size);
void tresor_measure_add(struct tresor_sha256 *hash, uint64_t offset, uint32_t secinfo_flags);
void tresor_measure_extend(struct tresor_sha256 *hash, uint64_t offset, const uint8_t page[SGX_PAGE_SIZE]);

#define SGX_SIGSTRUCT_SIZE	1808u

/*
 * EINIT's checks of a SIGSTRUCT against the SECS, whose mrenclave is final.
 * On success fills in mrsigner, isv_prod_id and isv_svn. The code names EINIT's
 * error, the message the check.
 */
bool tresor_check_sigstruct(const uint8_t *sigstruct, struct tresor_secs *secs, struct tresor_error *error);

#endif

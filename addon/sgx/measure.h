/* SPDX-License-Identifier: Apache-2.0 */
/* The stream that MRENCLAVE is the hash of; SDM vol. 3D, ECREATE, EADD, EEXTEND. */
#ifndef TRESOR_MEASURE_H
#define TRESOR_MEASURE_H

#include <stdint.h>

#include "abi/sgx.h"
#include "addon/sgx/sha256.h"

/* Begins it. */
void tresor_measure_create(struct tresor_sha256 *hash, uint64_t size, uint32_t ssa_frame_size);
void tresor_measure_add(struct tresor_sha256 *hash, uint64_t offset, uint32_t secinfo_flags);
void tresor_measure_extend(struct tresor_sha256 *hash, uint64_t offset, const uint8_t page[SGX_PAGE_SIZE]);

#endif

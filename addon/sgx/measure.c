/* SPDX-License-Identifier: Apache-2.0 */
/* Written apart from src/enclave/image, which signs: the two check each other. */
#include "addon/sgx/measure.h"

#include <string.h>

struct record {
	char tag[8];
	uint8_t fields[56];
};

void tresor_measure_create(struct tresor_sha256 *hash, uint64_t size, uint32_t ssa_frame_size)
{
	struct record record = { .tag = "ECREATE" };

	memcpy(record.fields, &ssa_frame_size, 4);
	memcpy(record.fields + 4, &size, 8);
	tresor_sha256_init(hash);
	tresor_sha256_update(hash, &record, sizeof(record));
}

void tresor_measure_add(struct tresor_sha256 *hash, uint64_t offset, uint32_t secinfo_flags)
{
	struct record record = { .tag = "EADD" };

	memcpy(record.fields, &offset, 8);
	memcpy(record.fields + 8, &secinfo_flags, 4);
	tresor_sha256_update(hash, &record, sizeof(record));
}

void tresor_measure_extend(struct tresor_sha256 *hash, uint64_t offset, const uint8_t page[SGX_PAGE_SIZE])
{
	for (uint32_t at = 0; at < SGX_PAGE_SIZE; at += 256) {
		struct record record = { .tag = "EEXTEND" };
		uint64_t chunk = offset + at;

		memcpy(record.fields, &chunk, 8);
		tresor_sha256_update(hash, &record, sizeof(record));
		tresor_sha256_update(hash, page + at, 256);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_RULES_H
#define TRESOR_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addon/sgx/backend.h"
#include "addon/sgx/refuse.h"

/* SDM vol. 3D, TCS. */
struct tresor_tcs {
	uint64_t state;
	uint64_t flags;
	uint64_t ossa;
	uint32_t cssa;
	uint32_t nssa;
	uint64_t oentry;
	uint64_t aep;
	uint64_t ofs_base;
	uint64_t ogs_base;
	uint32_t fs_limit;
	uint32_t gs_limit;
	uint8_t reserved[4024];
};
_Static_assert(sizeof(struct tresor_tcs) == SGX_PAGE_SIZE, "SDM");

/* Every one: false with the error filled in when refused. */
bool tresor_check_create(const struct tresor_secs *secs, struct tresor_error *error);
/* Whole pages within the enclave, none of them there yet. */
bool tresor_check_range(const struct tresor_image *image, uint64_t offset, uint64_t size, size_t data_size,
			struct tresor_error *error);
bool tresor_check_secinfo(uint64_t offset, uint32_t flags, bool measure, struct tresor_error *error);
bool tresor_check_tcs(const struct tresor_image *image, uint64_t offset, const struct tresor_tcs *tcs,
		      struct tresor_error *error);
/* Once all pages are there. */
bool tresor_check_threads(const struct tresor_image *image, struct tresor_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_RULES_H
#define TRESOR_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addon/sgx/image.h"
#include "addon/sgx/refuse.h"

/* Every one: false with the error filled in when refused. */
bool tresor_check_create(const struct tresor_secs *secs, struct tresor_error *error);
/* Whole pages within the enclave, none of them there yet. */
bool tresor_check_range(const struct tresor_image *image, uint64_t offset, uint64_t size, size_t data_size,
			struct tresor_error *error);
bool tresor_check_secinfo(uint64_t offset, uint32_t flags, bool measure, struct tresor_error *error);
bool tresor_check_tcs(const struct tresor_image *image, uint64_t offset, const struct sgx_tcs *tcs,
		      struct tresor_error *error);
/* Once all pages are there. */
bool tresor_check_threads(const struct tresor_image *image, struct tresor_error *error);

#endif

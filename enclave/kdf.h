/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_KDF_H
#define TRESOR_KDF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "enclave.h"

/* OK or E_UNSUPPORTED: type, hash, counts. */
uint32_t tresor_kdf_check(const struct tresor_kdf *kdf);
/* Whether a checked KDF costs what one that is written must: TRESOR_KDF_FLOOR_*. */
bool tresor_kdf_above_floor(const struct tresor_kdf *kdf);
/*
 * For the heap's tenant; kdf has been checked. E_MEMORY raises *needed_kib to
 * what this KDF wants. out is written on TRESOR_OK.
 */
uint32_t tresor_kdf_run(const struct tresor_kdf *kdf, const void *pass, size_t pass_size,
			const void *salt, size_t salt_size, uint8_t *out, size_t out_size,
			uint32_t *needed_kib);

#endif

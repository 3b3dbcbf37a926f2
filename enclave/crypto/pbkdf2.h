/* SPDX-License-Identifier: Apache-2.0 */
/* PBKDF2-HMAC (RFC 8018). */
#ifndef TRESOR_CRYPTO_PBKDF2_H
#define TRESOR_CRYPTO_PBKDF2_H

#include "hash.h"

/* iterations >= 1; out_size < 2^32. Time depends on the sizes and iterations alone. */
void pbkdf2(uint32_t algorithm, const void *pass, size_t pass_size, const void *salt,
	    size_t salt_size, uint32_t iterations, uint8_t *out, size_t out_size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF (RFC 5869). */
#ifndef TRESOR_CRYPTO_HKDF_H
#define TRESOR_CRYPTO_HKDF_H

#include "hash.h"

/* prk: hash_size() bytes. Without a salt: salt_size 0. */
void hkdf_extract(uint32_t algorithm, const void *salt, size_t salt_size, const void *ikm,
		  size_t ikm_size, uint8_t *prk);
/* prk: hash_size() bytes; out_size <= 255 * hash_size(). */
void hkdf_expand(uint32_t algorithm, const uint8_t *prk, const void *info, size_t info_size,
		 uint8_t *out, size_t out_size);

/* HKDF-SHA256 without a salt, as a whole: one secret, a key for each info. */
void hkdf_key(const void *secret, size_t secret_size, const void *info, size_t info_size, uint8_t *key,
	      size_t size);

#endif

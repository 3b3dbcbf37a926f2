/* SPDX-License-Identifier: Apache-2.0 */
#include "hkdf.h"
#include "hmac.h"
#include "mem.h"
#include "wipe.h"

void hkdf_extract(uint32_t algorithm, const void *salt, size_t salt_size, const void *ikm,
		  size_t ikm_size, uint8_t *prk)
{
	struct hmac hmac;

	hmac_init(&hmac, algorithm, salt, salt_size);
	hmac_update(&hmac, ikm, ikm_size);
	hmac_final(&hmac, prk);
}

void hkdf_expand(uint32_t algorithm, const uint8_t *prk, const void *info, size_t info_size,
		 uint8_t *out, size_t out_size)
{
	const size_t size = hash_size(algorithm);
	uint8_t block[HASH_SIZE_MAX];
	struct hmac hmac;
	size_t previous = 0;

	for (uint8_t counter = 1; out_size; counter++) {
		const size_t part = out_size < size ? out_size : size;

		hmac_init(&hmac, algorithm, prk, size);
		hmac_update(&hmac, block, previous);
		hmac_update(&hmac, info, info_size);
		hmac_update(&hmac, &counter, 1);
		hmac_final(&hmac, block);
		memcpy(out, block, part);
		out += part;
		out_size -= part;
		previous = size;
	}
	WIPE(block);
}

void hkdf_key(const void *secret, size_t secret_size, const void *info, size_t info_size, uint8_t *key,
	      size_t size)
{
	uint8_t prk[32];

	hkdf_extract(TRESOR_SHA256, "", 0, secret, secret_size, prk);
	hkdf_expand(TRESOR_SHA256, prk, info, info_size, key, size);
	WIPE(prk);
}

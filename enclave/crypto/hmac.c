/* SPDX-License-Identifier: Apache-2.0 */
#include "hmac.h"
#include "mem.h"
#include "wipe.h"

void hmac_init(struct hmac *hmac, uint32_t algorithm, const void *key, size_t size)
{
	const size_t block = hash_block_size(algorithm);
	uint8_t pad[HASH_BLOCK_MAX] = { 0 };

	if (size > block)
		hash_once(algorithm, key, size, pad);
	else
		memcpy(pad, key, size);
	for (size_t i = 0; i < block; i++)
		pad[i] ^= 0x36;
	hash_init(&hmac->inner, algorithm);
	hash_update(&hmac->inner, pad, block);
	for (size_t i = 0; i < block; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	hash_init(&hmac->outer, algorithm);
	hash_update(&hmac->outer, pad, block);
	WIPE(pad);
}

void hmac_update(struct hmac *hmac, const void *data, size_t size)
{
	hash_update(&hmac->inner, data, size);
}

void hmac_final(struct hmac *hmac, uint8_t *tag)
{
	const size_t size = hash_size(hmac->outer.algorithm);
	uint8_t digest[HASH_SIZE_MAX];

	hash_final(&hmac->inner, digest);
	hash_update(&hmac->outer, digest, size);
	hash_final(&hmac->outer, tag);
	WIPE(digest);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "af.h"
#include "hash.h"
#include "mem.h"
#include "random.h"
#include "wipe.h"

/* Each digest-sized piece becomes H(big-endian index of the piece || piece), the last one cut. */
static void diffuse(uint32_t algorithm, uint8_t *buffer, size_t size)
{
	const size_t step = hash_size(algorithm);
	uint8_t digest[HASH_SIZE_MAX];
	struct hash hash;

	for (size_t at = 0, index = 0; at < size; at += step, index++) {
		const uint32_t number = __builtin_bswap32((uint32_t)index);
		const size_t part = size - at < step ? size - at : step;

		hash_init(&hash, algorithm);
		hash_update(&hash, &number, sizeof(number));
		hash_update(&hash, buffer + at, part);
		hash_final(&hash, digest);
		memcpy(buffer + at, digest, part);
	}
	WIPE(digest);
}

/* What the last stripe is XORed with. */
static void fold(uint32_t hash, uint8_t *buffer, size_t size, uint32_t stripes, const uint8_t *area)
{
	memset(buffer, 0, size);
	for (uint32_t stripe = 0; stripe + 1 < stripes; stripe++, area += size) {
		for (size_t i = 0; i < size; i++)
			buffer[i] ^= area[i];
		diffuse(hash, buffer, size);
	}
}

bool af_split(uint32_t hash, const uint8_t *key, size_t size, uint32_t stripes, uint8_t *area)
{
	uint8_t *last = area + size * (stripes - 1);
	uint8_t buffer[AF_KEY_MAX];

	if (!random_bytes(area, size * (stripes - 1)))
		return false;
	fold(hash, buffer, size, stripes, area);
	for (size_t i = 0; i < size; i++)
		last[i] = buffer[i] ^ key[i];
	WIPE(buffer);
	return true;
}

void af_merge(uint32_t hash, uint8_t *key, size_t size, uint32_t stripes, const uint8_t *area)
{
	const uint8_t *last = area + size * (stripes - 1);
	uint8_t buffer[AF_KEY_MAX];

	fold(hash, buffer, size, stripes, area);
	for (size_t i = 0; i < size; i++)
		key[i] = buffer[i] ^ last[i];
	WIPE(buffer);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "blake2b.h"
#include "mem.h"
#include "wipe.h"

static const uint64_t initial[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint8_t sigma[10][16] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 },
	{ 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 },
	{ 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 },
	{ 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 },
	{ 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
};

#define ROR(x, n)	((x) >> (n) | (x) << (64 - (n)))

static void mix(uint64_t v[16], unsigned a, unsigned b, unsigned c, unsigned d, uint64_t x, uint64_t y)
{
	v[a] += v[b] + x;
	v[d] = ROR(v[d] ^ v[a], 32);
	v[c] += v[d];
	v[b] = ROR(v[b] ^ v[c], 24);
	v[a] += v[b] + y;
	v[d] = ROR(v[d] ^ v[a], 16);
	v[c] += v[d];
	v[b] = ROR(v[b] ^ v[c], 63);
}

static void compress(struct blake2b *hash, uint64_t final)
{
	uint64_t m[16], v[16];

	memcpy(m, hash->block, sizeof(m));
	memcpy(v, hash->state, sizeof(hash->state));
	memcpy(v + 8, initial, sizeof(initial));
	v[12] ^= hash->size;
	v[14] ^= final;
	for (unsigned round = 0; round < 12; round++) {
		const uint8_t *s = sigma[round % 10];

		for (unsigned i = 0; i < 4; i++)
			mix(v, i, i + 4, i + 8, i + 12, m[s[2 * i]], m[s[2 * i + 1]]);
		for (unsigned i = 0; i < 4; i++)
			mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, m[s[2 * i + 8]],
			    m[s[2 * i + 9]]);
	}
	for (unsigned i = 0; i < 8; i++)
		hash->state[i] ^= v[i] ^ v[i + 8];
	WIPE(m);
	WIPE(v);
}

void blake2b_init(struct blake2b *hash, size_t out_size)
{
	memset(hash, 0, sizeof(*hash));
	memcpy(hash->state, initial, sizeof(initial));
	hash->state[0] ^= 0x01010000 ^ out_size;
	hash->out_size = out_size;
}

void blake2b_update(struct blake2b *hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	while (size) {
		size_t part = sizeof(hash->block) - hash->held;

		/* A full block waits: only what follows tells that it is not the last. */
		if (part == 0) {
			compress(hash, 0);
			hash->held = 0;
			part = sizeof(hash->block);
		}
		part = size < part ? size : part;
		memcpy(hash->block + hash->held, bytes, part);
		hash->held += part;
		hash->size += part;
		bytes += part;
		size -= part;
	}
}

void blake2b_final(struct blake2b *hash, uint8_t *out)
{
	memset(hash->block + hash->held, 0, sizeof(hash->block) - hash->held);
	compress(hash, ~0ull);
	memcpy(out, hash->state, hash->out_size);
	WIPE(*hash);
}

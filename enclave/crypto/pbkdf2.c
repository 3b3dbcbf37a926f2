/* SPDX-License-Identifier: Apache-2.0 */
#include "pbkdf2.h"
#include "hmac.h"
#include "mem.h"
#include "wipe.h"

struct pbkdf2 {
	struct hmac keyed;	/* pads absorbed */
	struct hmac first;
	union hash_state inner;
	union hash_state outer;
	union hash_state sum;
	uint8_t block[HASH_BLOCK_MAX];	/* digest || padding of a message of one block and a digest */
	uint8_t digest[HASH_SIZE_MAX];
};

static void pbkdf2_block(struct pbkdf2 *p, uint32_t algorithm, uint32_t iterations)
{
	const size_t words = hash_block_size(algorithm) == 128 ? 8 : 4;

	for (uint32_t i = 1; i < iterations; i++) {
		p->inner = p->keyed.inner.state;
		hash_compress(algorithm, &p->inner, p->block, 1);
		hash_store(algorithm, &p->inner, p->block);
		p->outer = p->keyed.outer.state;
		hash_compress(algorithm, &p->outer, p->block, 1);
		hash_store(algorithm, &p->outer, p->block);
		for (size_t j = 0; j < words; j++)
			p->sum.w64[j] ^= p->outer.w64[j];
	}
}

void pbkdf2(uint32_t algorithm, const void *pass, size_t pass_size, const void *salt,
	    size_t salt_size, uint32_t iterations, uint8_t *out, size_t out_size)
{
	const size_t size = hash_size(algorithm);
	const size_t block = hash_block_size(algorithm);
	const uint64_t bits = __builtin_bswap64((block + size) * 8);
	struct pbkdf2 p = { 0 };

	hmac_init(&p.keyed, algorithm, pass, pass_size);
	for (uint32_t index = 1; out_size; index++) {
		const uint32_t number = __builtin_bswap32(index);
		const size_t part = out_size < size ? out_size : size;

		p.first = p.keyed;
		hmac_update(&p.first, salt, salt_size);
		hmac_update(&p.first, &number, sizeof(number));
		hmac_final(&p.first, p.digest);
		memset(p.block, 0, sizeof(p.block));
		memcpy(p.block, p.digest, size);
		p.block[size] = 0x80;
		memcpy(p.block + block - 8, &bits, 8);
		memset(&p.sum, 0, sizeof(p.sum));
		pbkdf2_block(&p, algorithm, iterations);
		hash_store(algorithm, &p.sum, p.block);
		for (size_t i = 0; i < part; i++)
			out[i] = p.digest[i] ^ p.block[i];
		out += part;
		out_size -= part;
	}
	WIPE(p);
}

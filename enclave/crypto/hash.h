/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1, SHA-224, SHA-256, SHA-384 and SHA-512 (FIPS 180-4). */
#ifndef TRESOR_CRYPTO_HASH_H
#define TRESOR_CRYPTO_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "enclave.h"

#define HASH_SIZE_MAX	64u
#define HASH_BLOCK_MAX	128u

/* Words in the CPU's order: uint32_t for SHA-1/224/256, uint64_t for SHA-384/512. */
union hash_state {
	uint32_t w32[8];
	uint64_t w64[8];
};

struct hash {
	union hash_state state;
	uint8_t block[HASH_BLOCK_MAX];
	uint64_t size;		/* bytes so far; < 2^61 */
	uint32_t algorithm;	/* enum tresor_hash */
};

bool hash_known(uint32_t algorithm);

/* Bytes, 0 for an unknown algorithm. The rest may only be called with known ones. */
size_t hash_size(uint32_t algorithm);
size_t hash_block_size(uint32_t algorithm);

void hash_init(struct hash *hash, uint32_t algorithm);
void hash_update(struct hash *hash, const void *data, size_t size);
/* Writes hash_size() bytes and wipes the context. */
void hash_final(struct hash *hash, uint8_t *digest);
void hash_once(uint32_t algorithm, const void *data, size_t size, uint8_t *digest);

/* For PBKDF2: whole blocks into bare state words. */
void hash_compress(uint32_t algorithm, union hash_state *state, const uint8_t *blocks, size_t count);
/* State words to the digest's big-endian bytes, hash_size() of them. */
void hash_store(uint32_t algorithm, const union hash_state *state, uint8_t *digest);

#endif

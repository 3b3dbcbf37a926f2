/* SPDX-License-Identifier: Apache-2.0 */
/* BLAKE2b without a key (RFC 7693), for Argon2 alone. */
#ifndef TRESOR_CRYPTO_BLAKE2B_H
#define TRESOR_CRYPTO_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

struct blake2b {
	uint64_t state[8];
	uint64_t size;
	uint8_t block[128];
	size_t held;
	size_t out_size;
};

/* out_size: 1..64 bytes. */
void blake2b_init(struct blake2b *hash, size_t out_size);
void blake2b_update(struct blake2b *hash, const void *data, size_t size);
/* Writes out_size bytes and wipes the context. */
void blake2b_final(struct blake2b *hash, uint8_t *out);

#endif

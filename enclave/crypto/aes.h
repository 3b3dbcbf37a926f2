/* SPDX-License-Identifier: Apache-2.0 */
/* AES (FIPS 197) by AES-NI: no tables, no branches on key or data. */
#ifndef TRESOR_CRYPTO_AES_H
#define TRESOR_CRYPTO_AES_H

#include <stdbool.h>
#include <stdint.h>

#define AES_BLOCK	16u
#define AES_ROUNDS_MAX	14u

struct aes_key {
	uint8_t encrypt[AES_ROUNDS_MAX + 1][AES_BLOCK];
	uint8_t decrypt[AES_ROUNDS_MAX + 1][AES_BLOCK];	/* for AESDEC: InvMixColumns applied, reversed */
	uint32_t rounds;
} __attribute__((aligned(16)));

/* size: 16, 24 or 32 bytes. */
void aes_expand(struct aes_key *key, const uint8_t *secret, uint32_t size);
/* count blocks, independent of each other, in == out allowed. Eight run at once. */
void aes_encrypt(const struct aes_key *key, const uint8_t *in, uint8_t *out, uint64_t count);
void aes_decrypt(const struct aes_key *key, const uint8_t *in, uint8_t *out, uint64_t count);

#endif

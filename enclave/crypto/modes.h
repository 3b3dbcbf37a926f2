/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECB, CBC, CTR (SP 800-38A) and dm-crypt's CBC-ESSIV:sha256 for the kernel ring.
 *
 * in and out may be host memory (checked by the caller, 8-byte aligned, and
 * readable and writable up to the next multiple of 8): it is moved in aligned
 * quadwords, each read once, and only results are written. in == out allowed,
 * other overlap is not. iv is enclave memory, read and then replaced as the
 * kernel's Crypto API demands, so that a request may be cut at any block.
 */
#ifndef TRESOR_CRYPTO_MODES_H
#define TRESOR_CRYPTO_MODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aes.h"

/* size: a multiple of 16. */
void modes_ecb(const struct aes_key *key, bool decrypt, const void *in, void *out, size_t size);
/* size: a multiple of 16. iv becomes the last ciphertext block. */
void modes_cbc(const struct aes_key *key, bool decrypt, const void *in, void *out, size_t size,
	       uint8_t iv[16]);
/* Any size. iv, a 128-bit big-endian counter, advances by the blocks begun. */
void modes_ctr(const struct aes_key *key, const void *in, void *out, size_t size, uint8_t iv[16]);

/* The key that turns ESSIV's plain sector number into CBC's IV: AES-256 under SHA-256(secret). */
void modes_essiv_key(struct aes_key *essiv, const uint8_t *secret, size_t size);
/* iv: little-endian sector number; becomes the last ciphertext block, as modes_cbc's. */
void modes_cbc_essiv(const struct aes_key *key, const struct aes_key *essiv, bool decrypt,
		     const void *in, void *out, size_t size, uint8_t iv[16]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* AES-GCM (SP 800-38D) with 12-byte IVs, 16-byte tags and 128- or 256-bit keys. */
#ifndef TRESOR_CRYPTO_GCM_H
#define TRESOR_CRYPTO_GCM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GCM_IV		12u
#define GCM_TAG		16u

/* Enclave memory; in == out allowed; size < 2^36 - 32; key_size 16 or 32. */
void gcm_seal(const uint8_t *key, uint32_t key_size, const uint8_t iv[GCM_IV], const void *aad,
	      size_t aad_size, const void *in, void *out, size_t size, uint8_t tag[GCM_TAG]);
/* Decrypts nothing unless the tag is right; out is untouched when it is not. */
bool gcm_open(const uint8_t *key, uint32_t key_size, const uint8_t iv[GCM_IV], const void *aad,
	      size_t aad_size, const void *in, void *out, size_t size, const uint8_t tag[GCM_TAG])
	__attribute__((warn_unused_result));

#endif

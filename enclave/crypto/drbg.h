/* SPDX-License-Identifier: Apache-2.0 */
/* HMAC_DRBG with SHA-256 (SP 800-90A section 10.1.2), without prediction resistance. */
#ifndef TRESOR_CRYPTO_DRBG_H
#define TRESOR_CRYPTO_DRBG_H

#include <stddef.h>
#include <stdint.h>

struct drbg {
	uint8_t key[32];
	uint8_t v[32];
};

/* seed: entropy || nonce || personalisation. */
void drbg_init(struct drbg *drbg, const void *seed, size_t size);
void drbg_reseed(struct drbg *drbg, const void *seed, size_t size);
/* size <= 65536 (2^19 bits a request). The reseed interval is the caller's. */
void drbg_generate(struct drbg *drbg, uint8_t *out, size_t size);

#endif

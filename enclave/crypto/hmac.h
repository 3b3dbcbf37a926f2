/* SPDX-License-Identifier: Apache-2.0 */
/* HMAC (RFC 2104) with any hash of hash.h. */
#ifndef TRESOR_CRYPTO_HMAC_H
#define TRESOR_CRYPTO_HMAC_H

#include "hash.h"

struct hmac {
	struct hash inner;
	struct hash outer;
};

void hmac_init(struct hmac *hmac, uint32_t algorithm, const void *key, size_t size);
void hmac_update(struct hmac *hmac, const void *data, size_t size);
/* Writes hash_size() bytes and wipes the context. */
void hmac_final(struct hmac *hmac, uint8_t *tag);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_SHA256_H
#define TRESOR_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct tresor_sha256 {
	uint32_t state[8];
	uint64_t length;	/* bytes so far */
	uint8_t block[64];
};

void tresor_sha256_init(struct tresor_sha256 *hash);
void tresor_sha256_update(struct tresor_sha256 *hash, const void *data, size_t size);
/* Wipes the context. */
void tresor_sha256_final(struct tresor_sha256 *hash, uint8_t digest[32]);

#endif

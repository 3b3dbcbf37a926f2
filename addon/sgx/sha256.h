/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_SHA256_H
#define TRESOR_SHA256_H

#include <stdbool.h>
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

/*
 * Of two ranges at once, each of `size` bytes, a multiple of 64: SHA-NI is idle for half of the time with one. Nothing is
 * wiped. False, and nothing was done: the CPU has no SHA-NI.
 */
bool tresor_sha256_pair(const uint8_t *const data[2], size_t size, uint8_t digests[2][32]);

#endif

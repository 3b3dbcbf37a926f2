/* SPDX-License-Identifier: Apache-2.0 */
/* Constant-time comparison and selection. */
#ifndef TRESOR_CRYPTO_CT_H
#define TRESOR_CRYPTO_CT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keeps the compiler from learning that a mask has only two values and branching on it. */
static inline uint64_t ct_hide(uint64_t value)
{
	__asm__("" : "+r"(value));
	return value;
}

/* All ones when bit is 1, zero when it is 0; nothing else may be passed. */
static inline uint64_t ct_mask(uint64_t bit)
{
	return ct_hide(0 - bit);
}

/* All ones when a == b. */
static inline uint64_t ct_mask_equal(uint64_t a, uint64_t b)
{
	uint64_t x = a ^ b;

	return ct_mask(1 ^ ((x | (0 - x)) >> 63));
}

static inline uint64_t ct_select(uint64_t mask, uint64_t when_set, uint64_t otherwise)
{
	return otherwise ^ (mask & (when_set ^ otherwise));
}

/* Only the answer is public, not where the two differ. True for size 0. */
static inline bool ct_equal(const void *a, const void *b, size_t size)
{
	const uint8_t *x = a;
	const uint8_t *y = b;
	uint64_t difference = 0;

	for (size_t i = 0; i < size; i++)
		difference = ct_hide(difference | (uint64_t)(x[i] ^ y[i]));
	return ct_mask_equal(difference, 0) & 1;
}

#endif

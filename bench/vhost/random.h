/* SPDX-License-Identifier: Apache-2.0 */
/* Repeatable numbers from a seed (splitmix64). */
#ifndef BENCH_VHOST_RANDOM_H
#define BENCH_VHOST_RANDOM_H

#include <stdint.h>

static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Below `bound`, which is not 0. */
static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
	return next_random(state) % bound;
}

#endif

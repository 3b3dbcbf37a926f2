/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_OVERLAP_H
#define TRESOR_OVERLAP_H

#include <stdbool.h>
#include <stdint.h>

/* Whether two host buffers share some bytes without being one: what the ciphers cannot take. */
static inline bool tresor_overlap(uint64_t a, uint64_t b, uint64_t size)
{
	return a != b && (a < b ? b - a : a - b) < ((size + 7) & ~7ull);
}

#endif

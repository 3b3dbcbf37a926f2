/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_CRYPTO_QUADS_H
#define TRESOR_CRYPTO_QUADS_H

#include <stddef.h>

/* Host memory is moved in aligned quadwords only (INTEL-SA-00615, -00657): size is rounded up to 8. */
static inline void quads_move(void *to, const void *from, size_t size)
{
	size_t count = (size + 7) / 8;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

#endif

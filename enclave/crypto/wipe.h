/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_CRYPTO_WIPE_H
#define TRESOR_CRYPTO_WIPE_H

#include <stddef.h>

/* Clears memory that held a secret; never optimised out. */
static inline void wipe(void *p, size_t size)
{
	__asm__ volatile("rep stosb" : "+D"(p), "+c"(size) : "a"(0) : "memory");
}

/* For arrays and structs, never for pointers: the size cannot disagree with the object. */
#define WIPE(object) wipe(&(object), sizeof(object))

#endif

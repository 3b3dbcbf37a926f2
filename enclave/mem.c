/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a freestanding compiler may call; it has not yet asked for memmove. Their time depends on
 * the length alone; mem.c's memcmp is for public bytes, secrets use ct.h.
 */
#include "mem.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t size)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(size) : : "memory");
	return dst;
}

void *memset(void *dst, int value, size_t size)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(size) : "a"(value) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *x = a;
	const unsigned char *y = b;

	for (size_t i = 0; i < size; i++) {
		if (x[i] != y[i])
			return x[i] - y[i];
	}
	return 0;
}

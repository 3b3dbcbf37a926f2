/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_MEM_H
#define TRESOR_MEM_H

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t size);
void *memset(void *dst, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/sgx/range.h"

#include <sys/mman.h>

uint8_t *tresor_reserve_range(uint64_t size, size_t below)
{
	/* The aligned middle of twice as much. */
	const uint64_t whole = below + 2 * size;
	uint8_t *map = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base, *start;

	if (map == MAP_FAILED)
		return NULL;
	base = (uint8_t *)(((uintptr_t)map + below + size - 1) & ~(uintptr_t)(size - 1));
	start = base - below;
	if (start > map)
		munmap(map, (size_t)(start - map));
	if (base + size < map + whole)
		munmap(base + size, (size_t)(map + whole - (base + size)));
	return base;
}

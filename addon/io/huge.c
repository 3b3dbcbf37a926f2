/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/io/huge.h"

#include <sys/mman.h>

uint8_t *huge_map(size_t lead, size_t size)
{
	const size_t room = lead + size + HUGE_PAGE;
	uint8_t *area = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *end, *at;

	if (area == MAP_FAILED)
		return NULL;
	at = (uint8_t *)(((uintptr_t)area + lead + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1)) - lead;
	end = at + lead + size;
	if (at > area)
		munmap(area, (size_t)(at - area));
	if (end < area + room)
		munmap(end, (size_t)(area + room - end));
	madvise(at, lead + size, MADV_DONTDUMP);
	/* Refused where the kernel has none. */
	madvise(at + lead, size, MADV_HUGEPAGE);
	return at;
}

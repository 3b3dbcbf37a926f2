/* SPDX-License-Identifier: Apache-2.0 */
#include "boundary.h"
#include "mem.h"

#ifdef TRESOR_HOST_TEST
/* A reserved range without access stands for ELRANGE: touching it faults. */
extern const uint64_t tresor_test_base;
#define ENCLAVE_BASE	tresor_test_base
#else
extern const char tresor_base[];	/* linked at 0, addressed relative to RIP */
#define ENCLAVE_BASE	((uint64_t)tresor_base)
#endif

/* Below lies NULL, beyond the kernel and addresses whose use is #GP. */
#define USER_START	4096u
#define USER_END	(1ull << 47)

bool tresor_boundary_outside(uint64_t address, uint64_t size)
{
	const uint64_t base = ENCLAVE_BASE;

	/* Both sums stay below 2^48: nothing wraps, not even the rounding up. */
	return size != 0 && address % 8 == 0 && address >= USER_START &&
	       address < USER_END && size <= USER_END - address &&
	       (address + ((size + 7) & ~7ull) <= base || address >= base + ENCLAVE_SIZE);
}

static void move_quads(void *to, const void *from, uint64_t quads)
{
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(quads) : : "memory");
}

bool tresor_boundary_read(void *to, uint64_t from, uint64_t size)
{
	uint64_t whole = size & ~7ull;
	uint64_t last;

	if (!tresor_boundary_outside(from, size))
		return false;
	tresor_boundary_fence();

	move_quads(to, (const void *)from, whole / 8);
	if (size != whole) {
		move_quads(&last, (const void *)(from + whole), 1);
		memcpy((char *)to + whole, &last, size - whole);
	}
	return true;
}

bool tresor_boundary_write(uint64_t to, const void *from, uint64_t size)
{
	uint64_t whole = size & ~7ull;
	uint64_t last = 0;

	if (!tresor_boundary_outside(to, size))
		return false;
	tresor_boundary_fence();

	move_quads((void *)to, from, whole / 8);
	if (size != whole) {
		memcpy(&last, (const char *)from + whole, size - whole);
		move_quads((void *)(to + whole), &last, 1);
	}
	return true;
}
